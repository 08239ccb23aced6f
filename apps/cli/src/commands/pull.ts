import type { Command } from "commander";
import { pullOptions } from "../hub.ts";

export function configurePull(command: Command): void {
  command
    .argument("<name>", "owner/name, owner/name@revision, or base, large, base-ft, large-ft")
    .addHelpText("after", help)
    .action(async (text: string) => {
      const { pullModel, requireModelName } = await import("@florence/hub");
      const { folder } = await pullModel(requireModelName(text), await pullOptions());
      process.stdout.write(`${folder}\n`);
      process.stderr.write(`Serve it: florence serve --model ${text}\n`);
    });
}

const help = `
Only the files that answers need are fetched: settings, tokenizer and weights (safetensors; pytorch_model.bin where there is nothing
else). Each is checked against the hub's own checksum. A pull that is stopped goes on where it was when it is started again.
The short names mean florence-community/Florence-2-base, -large, -base-ft and -large-ft.

The cache is the one that Python's libraries use, ~/.cache/huggingface/hub. What is there is not fetched again, by them or by this.

Environment:
  HF_HOME, HF_HUB_CACHE      where the cache is; XDG_CACHE_HOME counts too
  HF_TOKEN                   for private and gated checkpoints; else the token that "hf auth login" stored (HF_TOKEN_PATH)
  HF_ENDPOINT                another hub or a mirror, instead of https://huggingface.co
  HF_HUB_OFFLINE             1: use only what the cache has
  HF_HUB_DOWNLOAD_TIMEOUT    seconds that the hub may say nothing before it is asked again (30)
  HTTPS_PROXY, HTTP_PROXY, NO_PROXY    the way through a proxy
  NODE_EXTRA_CA_CERTS        a PEM file of more authorities to trust, such as a proxy's`;
