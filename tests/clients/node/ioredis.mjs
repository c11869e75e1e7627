// ioredis against a server. It speaks RESP2 only. usage: ioredis.mjs URL

import { RELEASE, assert, load, once, url } from './shared.mjs';

const Redis = load('ioredis').default ?? load('ioredis');
const client = new Redis(url);
client.on('error', (error) => assert.fail(error));
await client.flushall();
assert.equal(await client.ping(), 'PONG');

// The life of a session.
assert.equal(await client.hset('session:1', { user: 'ann', visits: 0 }), 2);
assert.equal(await client.expire('session:1', 1800), 1);
assert.equal(await client.hincrby('session:1', 'visits', 1), 1);
assert.deepEqual(await client.hgetall('session:1'), { user: 'ann', visits: '1' });
const ttl = await client.ttl('session:1');
assert.ok(ttl > 1790 && ttl <= 1800, `ttl ${ttl}`);
assert.equal(await client.del('session:1'), 1);

// A pipeline.
const pipeline = client.pipeline();
for (let i = 0; i < 1000; i++) pipeline.incr('n');
assert.deepEqual((await pipeline.exec()).map(([, count]) => count), [...Array(1000).keys()].map((i) => i + 1));

// A transaction that holds, and one that another thwarts.
const done = await client.multi().set('a', '1').incr('a').get('a').exec();
assert.deepEqual(done, [[null, 'OK'], [null, 2], [null, '2']]);
const other = client.duplicate();
await client.watch('a');
await other.set('a', 'taken');
assert.equal(await client.multi().set('a', 'mine').exec(), null);
assert.equal(await client.get('a'), 'taken');

// Messages.
const subscriber = client.duplicate();
const [first, call] = once();
subscriber.on('message', call);
const [matched, callMatched] = once();
subscriber.on('pmessage', callMatched);
await subscriber.subscribe('news', 'other');
await subscriber.psubscribe('n*');
assert.equal(await client.publish('news', 'hello'), 2);
assert.deepEqual(await first, ['news', 'hello']);
assert.deepEqual(await matched, ['n*', 'news', 'hello']);
await subscriber.unsubscribe('news', 'other');
await subscriber.punsubscribe('n*');
assert.equal(await subscriber.ping(), 'PONG');

// A lock, by EVAL and by the client's own command, which is EVALSHA with EVAL behind it.
assert.equal(await client.set('lock', 'mine', 'PX', 30000, 'NX'), 'OK');
assert.equal(await client.set('lock', 'yours', 'PX', 30000, 'NX'), null);
assert.equal(await client.eval(RELEASE, 1, 'lock', 'yours'), 0);
client.defineCommand('release', { numberOfKeys: 1, lua: RELEASE + '-- by name' });
assert.equal(await client.release('lock', 'mine'), 1);
assert.equal(await client.release('lock', 'mine'), 0);

// A scan comes to an end.
const found = [];
for await (const keys of client.scanStream({ count: 2 })) found.push(...keys);
assert.deepEqual(found.sort(), ['a', 'n']);

await assert.rejects(client.hget('a', 'f'), /WRONGTYPE/);
await Promise.all([client.quit(), other.quit(), subscriber.quit()]);
console.log('ok');
