import { describe, expect, test } from 'vitest';
import { readTextChecks } from './text-rules.js';

const checks = readTextChecks();
const check = (method: string, request: object) => () => checks.get(`/sluice.${method}`)?.(request);
const refused = (field: string) => expect.objectContaining({ code: 'INVALID_ARGUMENT', details: { field } });

describe('a text of a request', () => {
  test.each(['\0', '\u001b', '\n', '\u007f', '\u0085'])('has no control character: %j', (character) => {
    const text = `before${character}after`;
    expect(check('user.v1.UserService/Login', { tenant: text })).toThrow(refused('tenant'));
    expect(check('user.v1.UserService/Register', { display_name: text })).toThrow(/U\+00.. which|U\+00../);
    expect(check('allocator.v1.AllocatorService/Allocate', { request_id: text })).toThrow(refused('request_id'));
  });

  test('has no half of a surrogate pair, also where control characters are taken', () => {
    for (const half of ['\ud800', '\udc00x', 'x\ud83d']) {
      expect(check('user.v1.UserService/CreateGuest', { device_id: half })).toThrow(refused('device_id'));
      expect(check('user.v1.UserService/Register', { password: half })).toThrow(refused('password'));
    }
    expect(check('user.v1.UserService/CreateGuest', { device_id: '\u{1f600}' })).not.toThrow();
  });

  test('may have what its option says', () => {
    expect(check('user.v1.UserService/Login', { password: 'before\0after' })).not.toThrow();
    expect(check('postcard.v1.PostcardService/SendMessage', { text: 'one\r\n\ttwo' })).not.toThrow();
    expect(check('postcard.v1.PostcardService/SendMessage', { text: 'one\0two' })).toThrow(refused('text'));
    expect(check('user.v1.UserService/Login', { tenant: 'x'.repeat(63) })).not.toThrow();
    expect(check('user.v1.UserService/Login', { tenant: 'x'.repeat(64) })).toThrow(refused('tenant'));
    expect(check('user.v1.UserService/Login', { tenant: 'x'.repeat(1_000_000) })).toThrow(refused('tenant'));
  });

  test('is checked in lists and in messages of a message, and named by its path, never shown', () => {
    const roles = ['fine', 'se\0cret'];
    expect(check('user.v1.AdminService/SetRoles', { roles })).toThrow(refused('roles[1]'));
    expect(check('user.v1.AdminService/SetRoles', { roles })).not.toThrow(/secret|se\0/);
    const items = [{ request_id: 'fine' }, { request_id: 'x\0' }];
    expect(check('allocator.v1.AllocatorService/BatchAllocate', { allocations: items, requests: items })).toThrow(
      /\[1\]\.request_id/,
    );
  });
});

test('every method of every service whose request has a text is checked', () => {
  for (const service of ['user.v1.UserService', 'allocator.v1.AllocatorService', 'postcard.v1.PostcardService']) {
    expect([...checks.keys()].filter((path) => path.includes(service)).length).toBeGreaterThan(3);
  }
});
