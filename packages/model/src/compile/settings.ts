import { type Config, flag, integer, oneOf, text } from "@florence/service";
import { precisions } from "./precision.ts";

export { precisions } from "./precision.ts";

const GiB = 1024 ** 3;

/** Every variable that says which model is served, and where its builds are kept. */
export const modelConfig = {
  model: text({
    help: "The checkpoint or built folder to serve; on the command line also its name on a hub. Unset: the drawn one that comes with the project.",
    default: undefined,
  }),
  processor: text({
    help: "Folder of the tokenizer and the image settings, for a checkpoint that comes without them.",
    default: undefined,
  }),
  adapters: text({
    help: "Folders of LoRA adapters to put on the checkpoint, in their order, comma-separated.",
    default: undefined,
  }),
  tasks: text({
    help: "File of a fine-tune's own tasks, instead of tasks.json beside the weights.",
    default: undefined,
  }),
  precision: oneOf(precisions, {
    help: "fp32, fp16, int8 or int4, for a raw checkpoint. Unset: fp32.",
    default: undefined,
  }),
  allowUnverified: flag({ help: "Serve a variant that failed its verification.", default: false }),
  cache: text({
    help: "Where raw checkpoints are built into. Unset: florence in the user's cache folder.",
    default: undefined,
  }),
  // Three precisions of base and of large, with room for fine-tunes.
  cacheBytesMax: integer({
    help: "Bytes of builds kept; those not used for longest go first.",
    default: 20 * GiB,
    min: 1,
    max: 1024 ** 5,
  }),
  userCache: text({
    variable: "XDG_CACHE_HOME",
    help: "The user's cache folder. Unset: .cache in the home folder.",
    default: undefined,
  }),
};

export type ModelSettings = Config<typeof modelConfig>;
