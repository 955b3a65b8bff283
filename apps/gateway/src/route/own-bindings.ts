import { readFileSync } from 'node:fs';
import { descriptorSetPath } from '@sluice/contract';
import { type Binding, compileBindings, loadSchema, methodOption } from '@sluice/transcode';
import { type Access, ACCESS_OPTION, accessOf } from './access.js';

const GATEWAY_SERVICE = 'sluice.gateway.v1.GatewayService';

/** The rules of the methods that the gateway serves itself, and who may call them. */
export function ownBindings(authenticates: boolean): { readonly binding: Binding; readonly access: Access }[] {
  const schema = loadSchema(readFileSync(descriptorSetPath), descriptorSetPath);
  return compileBindings(schema, { services: [GATEWAY_SERVICE], json: { protoNames: true } }).map((binding) => ({
    binding,
    access: accessOf(binding.method, [], methodOption(schema, binding.method, ACCESS_OPTION), authenticates),
  }));
}
