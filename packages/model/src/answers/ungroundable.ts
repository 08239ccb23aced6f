/** Phrases that grounding drops, as the model returns them for words that refer to nothing of their own. Case counts. */
export const ungroundable: ReadonlySet<string> = new Set([
  ..."it I me mine you your yours he him his she her hers they them their theirs one oneself we us our ours".split(" "),
  ..."its myself yourself himself herself itself ourselves yourselves themselves".split(" "),
  ..."this that these those who whom whose which what all another any anybody anyone anything each".split(" "),
  ..."everybody everyone everything few many nobody none several some somebody someone something".split(" "),
  ..."image images the a an lots".split(" "),
  "each other",
  "one another",
  "the image",
  "a group",
  "other objects",
  "a set",
]);
