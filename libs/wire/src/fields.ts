/** Header fields as they travel: [name, value] pairs in order, names lower-case. Binary (`-bin`) values stay base64 text. */
export type Fields = readonly Field[];
export type Field = readonly [name: string, value: string];
