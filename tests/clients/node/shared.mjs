// What both Node clients are asked, and where their packages are.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import path from 'node:path';

// A reply that never comes ends the test.
setTimeout(() => assert.fail('no end after a minute'), 60_000).unref();

export { assert };
export const url = process.argv[2];
export const load = createRequire(path.join(process.env.CLOAKROOM_NODE_MODULES, 'x.js'));

export const RELEASE = `
if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end
return 0
`;

// Resolves with the arguments of the first call.
export function once() {
  let call;
  const first = new Promise((resolve) => (call = (...args) => resolve(args)));
  return [first, call];
}
