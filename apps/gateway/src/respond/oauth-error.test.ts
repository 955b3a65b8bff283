import { Problem } from '@sluice/problem';
import { expect, test } from 'vitest';
import { oauthError } from './oauth-error.js';

test('a description keeps to the characters of RFC 6749 section 5.2 and stays readable', () => {
  const problem = new Problem('INVALID_ARGUMENT', '"grant_type" is set already: C:\\é');
  expect(oauthError(problem)).toEqual({
    status: 400,
    body: { error: 'invalid_request', error_description: "'grant_type' is set already: C:  " },
  });
});
