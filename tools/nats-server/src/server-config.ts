/** What a test or a developer may want of a server. */
export interface ServerSettings {
  /** Largest message in bytes. Default 8 MiB, which holds every embedding; the server's own 1 MiB does not. */
  maxPayload?: number;
  auth?: { user: string; password: string } | { token: string };
  /** PEM files; with `caFile` clients need a certificate of that authority. */
  tls?: { certFile: string; keyFile: string; caFile?: string };
  /** More lines of configuration, as they are. */
  config?: string;
  /** Bytes of file storage that streams may reserve. Default 8 GiB: a limit, not an allocation. */
  storeBytesMax?: number;
}

const MiB = 1024 * 1024;

/** The server's configuration file. Its strings are quoted as JSON does, which the format reads. */
export function serverConfig(
  settings: ServerSettings,
  { port, storeDir, portsDir }: { port: number; storeDir: string; portsDir: string },
): string {
  const { auth, tls } = settings;
  const lines = [
    `host: "127.0.0.1"`,
    `port: ${port === 0 ? -1 : port}`, // -1 takes a free one.
    `ports_file_dir: ${JSON.stringify(portsDir)}`,
    `max_payload: ${settings.maxPayload ?? 8 * MiB}`,
    `jetstream { store_dir: ${JSON.stringify(storeDir)}, max_file_store: ${settings.storeBytesMax ?? 8192 * MiB}, max_memory_store: ${256 * MiB} }`,
  ];
  if (auth && "token" in auth) lines.push(`authorization { token: ${JSON.stringify(auth.token)} }`);
  else if (auth) {
    lines.push(`authorization { user: ${JSON.stringify(auth.user)}, password: ${JSON.stringify(auth.password)} }`);
  }
  if (tls) {
    const files = [`cert_file: ${JSON.stringify(tls.certFile)}`, `key_file: ${JSON.stringify(tls.keyFile)}`];
    if (tls.caFile) files.push(`ca_file: ${JSON.stringify(tls.caFile)}`, "verify: true");
    lines.push(`tls { ${files.join(", ")} }`);
  }
  if (settings.config) lines.push(settings.config);
  return `${lines.join("\n")}\n`;
}
