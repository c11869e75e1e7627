// Uses the guide's Express application. usage: express.cjs SNIPPET URL

const assert = require('node:assert/strict');
const fs = require('node:fs');
const { createRequire } = require('node:module');
const path = require('node:path');

setTimeout(() => assert.fail('no end after a minute'), 60_000).unref();
const [snippet, url] = process.argv.slice(2);
process.env.SESSIONS_URL = url;
process.env.COOKIE_SECRET = 'for the test';
// The snippet asks for its packages where they are installed.
const load = createRequire(path.join(process.env.CLOAKROOM_NODE_MODULES, 'x.js'));
const module_ = { exports: {} };
new Function('require', 'module', fs.readFileSync(snippet, 'utf8'))(load, module_);
const { app, client, connected } = module_.exports;

(async () => {
  await connected;
  const server = app.listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const base = `http://127.0.0.1:${server.address().port}`;
  let cookie;
  const ask = async (method, to) => {
    const answer = await fetch(base + to, { method, headers: cookie ? { cookie } : {} });
    const set = answer.headers.get('set-cookie');
    if (set) {
      assert.match(set, /HttpOnly; SameSite=Lax/);
      cookie = set.split(';')[0];
    }
    return answer.json();
  };
  assert.deepEqual(await ask('GET', '/'), { visits: 1 });
  assert.deepEqual(await ask('GET', '/'), { visits: 2 });
  const before = cookie;
  assert.deepEqual(await ask('POST', '/login'), { user: 'ann' });
  assert.notEqual(cookie, before);
  assert.deepEqual(await ask('GET', '/'), { visits: 1 });
  const keys = await client.keys('session:express:*');
  assert.equal(keys.length, 1);
  const ttl = await client.ttl(keys[0]);
  assert.ok(ttl > 1700 && ttl <= 1800, `ttl ${ttl}`);
  server.close();
  server.closeAllConnections();
  await client.close();
  console.log('ok');
})();
