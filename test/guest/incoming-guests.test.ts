import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { definitionOf } from '../support/array-guest.js';
import { type LastingGuest, MIB, openNode, openOn, regionsOf } from '../support/node-guests.js';

void t.test('a migration to here is adopted or discarded', async (t) => {
  const { store, vms, outgoing, incoming, guests, directory } = await openNode(t);
  const definition = definitionOf('web');
  const { machine } = await incoming.create(definition, regionsOf(definition), 'm-00000001');
  const guest = await machine;
  t.equal(store.get('web').status, 'incoming');
  t.same(await readdir(directory), ['arriving'], 'none of its own before the commit');
  t.same(await readdir(join(directory, 'arriving', 'm-00000001')), ['web.json'], 'it lies ready');
  t.strictSame(
    incoming.check(definition, regionsOf(definition)).map(({ code }) => code),
    ['target-has-guest'],
  );
  await incoming.discard('web', 'm-00000002');
  t.equal(store.get('web').status, 'incoming', 'another migration cannot discard it');
  await incoming.discard('web', 'm-00000001');
  t.throws(() => store.get('web'), { code: 'not-found' });
  t.ok(guests.get('web')![0]!.destroyed);
  t.equal(vms.memoryUsedBytes, 0);
  t.same(await readdir(join(directory, 'arriving')), []);

  await (
    await incoming.create(definition, regionsOf(definition), 'm-00000003')
  ).machine;
  await incoming.stageImage('web', 'm-00000003', Buffer.from('elf'));
  incoming.adopt('web');
  await guest.resume();
  t.equal(outgoing.outline('web').imageBytes, 3);
  t.equal(store.get('web').migration, null);
  await incoming.discard('web', 'm-00000003');
  t.equal(store.get('web').status, 'paused', 'what is adopted is not discarded');
  t.strictSame(await store.close(), ['web']);
  t.strictSame((await readdir(directory)).sort(), ['arriving', 'web.elf', 'web.json']);
  const other = [{ name: 'ram0', bytes: 2 * MIB }];
  t.match(incoming.check(definitionOf('odd'), other), [{ code: 'unsupported-guest' }]);
});

void t.test('an image that is just being written when its guest is given up does not stay', async (t) => {
  const { incoming, directory } = await openNode(t);
  for (const size of [1, MIB, 4 * MIB]) {
    const definition = definitionOf('web');
    await incoming.create(definition, regionsOf(definition), 'm-00000000');
    const written = incoming.stageImage('web', 'm-00000000', new Uint8Array(size));
    await Promise.allSettled([written, incoming.discard('web', 'm-00000000')]);
    t.strictSame(await readdir(join(directory, 'arriving')), []);
  }
});

void t.test('a VM that came here is known to be kept only when it is on disk', async (t) => {
  const { store, incoming } = await openOn(t, 'm-00000009');
  const definition = definitionOf('moved');
  const regions = [{ name: 'ram0', bytes: definition.memory }];
  const { machine } = await incoming.create(definition, regions, 'm-00000003');
  const guest = (await machine) as LastingGuest;
  incoming.adopt('moved');
  t.equal(await incoming.kept('moved'), true);
  t.equal(guest.owned, 1);

  const second = definitionOf('second');
  const coming = await incoming.create(second, regions, 'm-00000004');
  const failing = (await coming.machine) as LastingGuest;
  failing.own = () => Promise.reject(new Error('no space left'));
  incoming.adopt('second');
  t.equal(await incoming.kept('second'), false);
  failing.own = () => Promise.resolve();
  t.equal(await incoming.kept('second'), true, 'it is tried again each time it is asked for');
  t.equal(await incoming.kept('gone'), true, 'nothing is to be known of one that is no more');
  await store.close();
});
