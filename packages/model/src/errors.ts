/** Every way in which this package refuses an input or a checkpoint. The codes are stable and reach users. */
export type ModelErrorCode =
  | "image_undecodable"
  | "image_type_unsupported"
  | "image_too_many_pixels"
  | "task_unknown"
  | "task_input_missing"
  | "task_input_unexpected"
  | "region_invalid"
  | "option_invalid"
  | "prompt_too_long"
  | "prompt_token_invalid"
  | "checkpoint_file_missing"
  | "checkpoint_config_invalid"
  | "checkpoint_truncated"
  | "checkpoint_tensor_missing"
  | "checkpoint_tensor_shape"
  | "checkpoint_dtype_unsupported"
  | "checkpoint_unsupported"
  | "checkpoint_weights_invalid"
  | "build_corrupt"
  | "build_outdated"
  | "build_failed_verification"
  | "disk_full";

/** An input or a checkpoint that cannot be used. The message is for users: it names what is wrong, never a stack or a secret. */
export class ModelError extends Error {
  override readonly name = "ModelError";
  readonly code: ModelErrorCode;

  constructor(code: ModelErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
