import { createFileRegistry, fromBinary, getExtension, hasExtension } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { readDescriptorSet } from '@sluice/contract';
import { Problem } from '@sluice/problem';
import type { Caller } from './caller.js';

/** Who may call a method, from its option `sluice.access.v1.access`. */
export interface Access {
  readonly public: boolean;
  readonly roles: readonly string[];
  readonly noGuests: boolean;
  readonly verifiedEmail: boolean;
  readonly noKeys: boolean;
}

/** The access rule of every method of the contract by its path, `/package.Service/Method`. */
export function readAccessRules(): ReadonlyMap<string, Access> {
  const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readDescriptorSet()));
  const extension = registry.getExtension('sluice.access.v1.access');
  if (!extension) throw new Error('the descriptor set lacks sluice.access.v1.access: run `npm run generate`');
  const rules = new Map<string, Access>();
  for (const descriptor of registry) {
    if (descriptor.kind !== 'service') continue;
    for (const method of descriptor.methods) {
      const options = method.proto.options;
      const option =
        options && hasExtension(options, extension) ? (getExtension(options, extension) as Partial<Access>) : {};
      rules.set(`/${descriptor.typeName}/${method.name}`, {
        public: option.public ?? false,
        roles: option.roles ?? [],
        noGuests: option.noGuests ?? false,
        verifiedEmail: option.verifiedEmail ?? false,
        noKeys: option.noKeys ?? false,
      });
    }
  }
  return rules;
}

/** @throws Problem UNAUTHENTICATED without a caller, PERMISSION_DENIED when the caller lacks a role */
export function checkAccess(access: Access, caller: Caller | undefined): void {
  if (access.public) return;
  if (!caller) throw new Problem('UNAUTHENTICATED', 'Sign in to call this method.');
  if (access.noGuests && caller.guest) throw new Problem('PERMISSION_DENIED', 'Guests may not call this method.');
  if (access.verifiedEmail && caller.unverified) {
    throw new Problem('EMAIL_NOT_VERIFIED', 'Verify your e-mail address first; a refreshed token says so.');
  }
  if (access.noKeys && caller.key !== '') {
    throw new Problem('PERMISSION_DENIED', 'An API key may not call this method. Sign in.');
  }
  if (access.roles.length > 0 && !access.roles.some((role) => caller.roles.includes(role))) {
    throw new Problem('PERMISSION_DENIED', `This method needs the role ${access.roles.join(' or ')}.`);
  }
}
