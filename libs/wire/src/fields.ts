/** Header fields as they travel: [name, value] pairs in order, names lower-case. Binary (`-bin`) values stay base64 text. */
export type Fields = readonly Field[];
export type Field = readonly [name: string, value: string];

/** The header fields of a request, in order and as they arrived. Requests of one connection that are alike, octet by octet, may share one. */
export interface FieldSection {
  readonly fields: Fields;
  /** For whoever reads the fields: what they mean to it, kept as long as they are. */
  meaning: unknown;
}
