/** The name of a tensor in Microsoft's layout; the inverse of the model package's nativeName. */
export function originalName(native: string): string {
  if (native === "lm_head.weight") return "language_model.lm_head.weight";
  const projector = "model.multi_modal_projector.";
  if (native.startsWith(projector)) {
    const name = native.slice(projector.length).replace("image_position_embed", "image_pos_embed");
    return name === "image_projection.weight" ? "image_projection" : name;
  }
  if (native.startsWith("model.language_model."))
    return native.replace("model.language_model.", "language_model.model.");
  return native
    .replace(/^model\./, "")
    .replace(/^(vision_tower\.convs\.\d+)\.conv\./, "$1.proj.")
    .replace(/\.conv([12])\./, ".conv$1.fn.dw.")
    .replace(
      /\.(spatial|channel)_block\.norm1\./,
      (_, kind) => `.${kind}_block.${kind === "spatial" ? "window" : "channel"}_attn.norm.`,
    )
    .replace(/\.(window|channel)_attn\.(qkv|proj)\./, ".$1_attn.fn.$2.")
    .replace(/\.norm2\./, ".ffn.norm.")
    .replace(/\.ffn\.(fc[12])\./, ".ffn.fn.net.$1.");
}
