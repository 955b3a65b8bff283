import type { Field } from '@sluice/wire';

/** What every answer carries unless an upstream says otherwise: answers of an API belong in no shared cache. */
export const nosniff: Field = ['x-content-type-options', 'nosniff'];
export const noStore: Field = ['cache-control', 'no-store'];
