// node-redis 5 against a server, RESP2 and RESP3. usage: node-redis.mjs URL

import { RELEASE, assert, load, once, url } from './shared.mjs';

const { createClient, WatchError } = load('redis');

async function check(RESP) {
  const client = createClient({ url, RESP });
  client.on('error', (error) => assert.fail(error));
  await client.connect();
  await client.flushAll();
  assert.equal(await client.ping(), 'PONG');

  // The life of a session.
  assert.equal(await client.hSet('session:1', { user: 'ann', visits: '0' }), 2);
  assert.equal(Number(await client.expire('session:1', 1800)), 1);
  assert.equal(await client.hIncrBy('session:1', 'visits', 1), 1);
  assert.deepEqual({ ...(await client.hGetAll('session:1')) }, { user: 'ann', visits: '1' });
  const ttl = await client.ttl('session:1');
  assert.ok(ttl > 1790 && ttl <= 1800, `ttl ${ttl}`);
  assert.equal(await client.del('session:1'), 1);
  assert.equal(await client.get('nothing'), null);

  // A pipeline: commands of one tick are written together.
  const counts = await Promise.all(Array.from({ length: 1000 }, () => client.incr('n')));
  assert.deepEqual(counts, Array.from({ length: 1000 }, (_, i) => i + 1));

  // A transaction that holds, and one that another thwarts.
  assert.deepEqual(await client.multi().set('a', '1').incr('a').get('a').exec(), ['OK', 2, '2']);
  const other = await client.duplicate().connect();
  await client.watch('a');
  await other.set('a', 'taken');
  await assert.rejects(client.multi().set('a', 'mine').exec(), WatchError);
  assert.equal(await client.get('a'), 'taken');

  // Messages.
  const subscriber = await client.duplicate().connect();
  const [first, call] = once();
  await subscriber.subscribe('news', call);
  const [matched, callMatched] = once();
  await subscriber.pSubscribe('n*', callMatched);
  assert.equal(await client.publish('news', 'hello'), 2);
  assert.deepEqual((await first).slice(0, 2), ['hello', 'news']);
  assert.deepEqual((await matched).slice(0, 2), ['hello', 'news']);
  await subscriber.unsubscribe('news');
  await subscriber.pUnsubscribe('n*');
  assert.equal(String(await subscriber.ping()), 'PONG');

  // A lock.
  const nx = { condition: 'NX', expiration: { type: 'PX', value: 30000 } };
  assert.equal(await client.set('lock', 'mine', nx), 'OK');
  assert.equal(await client.set('lock', 'yours', nx), null);
  assert.equal(await client.eval(RELEASE, { keys: ['lock'], arguments: ['yours'] }), 0);
  assert.equal(await client.eval(RELEASE, { keys: ['lock'], arguments: ['mine'] }), 1);

  // Sorted sets have scores as numbers, scans come to an end.
  await client.zAdd('z', [{ score: 1.5, value: 'x' }, { score: 2, value: 'y' }]);
  assert.deepEqual(
    (await client.zRangeWithScores('z', 0, -1)).map(({ score, value }) => [value, score]),
    [['x', 1.5], ['y', 2]],
  );
  const found = [];
  for await (const keys of client.scanIterator({ COUNT: 2 })) found.push(...[keys].flat());
  assert.deepEqual(found.sort(), ['a', 'n', 'z']);

  await assert.rejects(client.hGet('a', 'f'), /WRONGTYPE/);
  await Promise.all([client.close(), other.close(), subscriber.close()]);
}

await check(2);
await check(3);
console.log('ok');
