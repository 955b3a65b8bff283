import { expect, test } from 'vitest';
import { nearestName } from './index.js';

const names = [
  'acme.greeter.v1.Greeter.Greet',
  'acme.greeter.v1.Greeter.Chime',
  'acme.greeter.v1.Greeter.*',
  'timeout',
];

test.each([
  ['acme.greeter.v1.Greeter.Gret', 'acme.greeter.v1.Greeter.Greet'],
  ['acme.greeter.v1.greeter.chime', 'acme.greeter.v1.Greeter.Chime'],
  ['acme.greter.v1.Greeter.*', 'acme.greeter.v1.Greeter.*'],
  ['Greeter.Chime', 'acme.greeter.v1.Greeter.Chime'],
  ['tiemout', 'timeout'],
  ['colour', undefined],
  ['', undefined],
])('%s → %s', (text, meant) => expect(nearestName(text, names)).toBe(meant));
