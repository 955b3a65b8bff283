import { gatewayJsonSchema } from './schema.js';

/** Prints config/gateway.schema.json. */
console.log(JSON.stringify(gatewayJsonSchema(), null, 2));
