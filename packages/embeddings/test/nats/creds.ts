import { createHash, generateKeyPairSync, type KeyObject, sign } from "node:crypto";

// The decentralised authentication of NATS in small: nkeys are ed25519 keys in base32 with a prefix and a CRC, and
// operators, accounts and users are JWTs that sign each other.
const prefixes = { operator: 14 << 3, account: 0, user: 20 << 3 } as const;
const seedPrefix = 18 << 3;
type Role = keyof typeof prefixes;

interface Nkey {
  readonly publicKey: string;
  readonly seed: string;
  readonly privateKey: KeyObject;
}

/** A server's configuration that trusts a new operator, and the creds file of a user of its account. */
export function newOperator(): { config: string; creds: string } {
  const [operator, system, account, user] = (["operator", "account", "account", "user"] as const).map(newNkey);
  if (!operator || !system || !account || !user) throw new Error("four keys were asked for");
  const limits = { subs: -1, data: -1, payload: -1, imports: -1, exports: -1, wildcards: true, conn: -1, leaf: -1 };
  const storage = { mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 };
  const jwts = {
    operator: claim(operator, operator, { type: "operator" }),
    system: claim(operator, system, { type: "account", limits }),
    account: claim(operator, account, { type: "account", limits: { ...limits, ...storage } }),
    user: claim(account, user, { type: "user", subs: -1, data: -1, payload: -1, pub: {}, sub: {} }),
  };
  const preload = `${system.publicKey}: "${jwts.system}", ${account.publicKey}: "${jwts.account}"`;
  return {
    config: [
      `operator: "${jwts.operator}"`,
      `system_account: "${system.publicKey}"`,
      "resolver: MEMORY",
      `resolver_preload: { ${preload} }`,
    ].join("\n"),
    creds: [
      "-----BEGIN NATS USER JWT-----",
      jwts.user,
      "------END NATS USER JWT------",
      "",
      "-----BEGIN USER NKEY SEED-----",
      user.seed,
      "------END USER NKEY SEED------",
      "",
    ].join("\n"),
  };
}

function claim(issuer: Nkey, subject: Nkey, nats: object): string {
  const body = {
    iat: 1_700_000_000,
    iss: issuer.publicKey,
    sub: subject.publicKey,
    name: "test",
    nats: { version: 2, ...nats },
  };
  const jti = base32(createHash("sha256").update(JSON.stringify(body)).digest());
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = `${part({ typ: "JWT", alg: "ed25519-nkey" })}.${part({ jti, ...body })}`;
  return `${signed}.${sign(null, Buffer.from(signed), issuer.privateKey).toString("base64url")}`;
}

function newNkey(role: Role): Nkey {
  const { privateKey } = generateKeyPairSync("ed25519");
  const { d = "", x = "" } = privateKey.export({ format: "jwk" });
  const prefix = prefixes[role];
  return {
    publicKey: withChecksum([prefix], Buffer.from(x, "base64url")),
    // The role's five bits straddle two bytes behind the seed's own five.
    seed: withChecksum([seedPrefix | (prefix >> 5), (prefix & 31) << 3], Buffer.from(d, "base64url")),
    privateKey,
  };
}

function withChecksum(prefix: number[], key: Buffer): string {
  const bytes = Buffer.concat([Buffer.from(prefix), key]);
  const checksum = Buffer.alloc(2);
  checksum.writeUInt16LE(crc16(bytes));
  return base32(Buffer.concat([bytes, checksum]));
}

// CRC-16/XMODEM.
function crc16(bytes: Buffer): number {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1) & 0xffff;
  }
  return crc;
}

function base32(bytes: Buffer): string {
  const bits = [...bytes].map((byte) => byte.toString(2).padStart(8, "0")).join("");
  const letters = bits.match(/.{1,5}/g) ?? [];
  return letters.map((five) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[Number.parseInt(five.padEnd(5, "0"), 2)]).join("");
}
