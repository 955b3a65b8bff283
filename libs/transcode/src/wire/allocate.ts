/** Makes a buffer of so many octets for a message or text, with anything in it. */
export type Allocate = (octets: number) => Buffer;
