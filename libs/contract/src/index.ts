import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export * as accessV1 from './generated/sluice/access/v1/access.js';
export * as accountV1 from './generated/sluice/account/v1/account.js';
export * as allocatorV1 from './generated/sluice/allocator/v1/allocator.js';
export * as budgetV1 from './generated/sluice/allocator/v1/budget.js';
export * as gatewayV1 from './generated/sluice/gateway/v1/gateway.js';
export * as machinesV1 from './generated/sluice/machines/v1/machines.js';
export * as postcardV1 from './generated/sluice/postcard/v1/postcard.js';
export * as userV1 from './generated/sluice/user/v1/user.js';

/** The folder that proto file names such as `sluice/user/v1/user.proto` are relative to. */
export const protoRoot: string = fileURLToPath(new URL('../../../proto', import.meta.url));

/** The path of the FileDescriptorSet of everything in proto/, with source info. */
export const descriptorSetPath: string = fileURLToPath(new URL('../descriptors/sluice.binpb', import.meta.url));

/** The FileDescriptorSet of everything in proto/, read anew at each call. */
export function readDescriptorSet(): Uint8Array {
  return readFileSync(descriptorSetPath);
}
