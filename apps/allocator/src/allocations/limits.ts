/** The largest count that the contract and Postgres hold exactly. */
export const INT64_MAX = 2n ** 63n - 1n;
export const REQUEST_ID_CHARACTERS_MAX = 200;
export const REASON_CHARACTERS_MAX = 500;
/** Of a tenant or a subject. */
export const NAME_LENGTH_MAX = 300;
export const TTL_SECONDS_MAX = 366 * 86_400;
export const BATCH_REQUESTS_MAX = 1000;

/** Letters, digits and a few signs that need no quoting anywhere. */
export const NODE_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

/** Labels of one allocation, and the length of a name or a value. */
export const LABELS_MAX = 8;
export const LABEL_CHARACTERS_MAX = 100;
