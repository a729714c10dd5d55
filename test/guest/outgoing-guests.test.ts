import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import t from 'tap';
import { definitionOf } from '../support/array-guest.js';
import { openNode, openOn } from '../support/node-guests.js';

void t.test('a migration away holds the guest until it ends', async (t) => {
  const { store, outgoing } = await openNode(t);
  await store.define(definitionOf('web'), undefined);
  t.throws(() => outgoing.check('web'), { code: 'wrong-state' });
  await store.start('web');
  outgoing.begin('web', 'm-00000001');
  t.throws(() => outgoing.begin('web', 'm-00000002'), {
    code: 'duplicate-migration',
    message: /m-00000001/,
  });
  for (const operation of ['stop', 'pause', 'resume', 'undefine'] as const) {
    await t.rejects(store[operation]('web'), { code: 'wrong-state' }, operation);
  }
  outgoing.markUnknown('web', 'm-00000001');
  t.equal(store.get('web').status, 'unknown');
  await t.rejects(store.stop('web'), { code: 'wrong-state', message: /outcome.*not known/ });
  outgoing.markOwn('web');
  t.equal(store.get('web').status, 'running', 'one that may run is not said to be unknown');
  await t.rejects(store.stop('web'), { code: 'wrong-state', message: /part of migration m-00000001/ });
  await outgoing.end('web', null);
  t.equal(store.get('web').status, 'running');
  outgoing.begin('web', 'm-00000003');
  await outgoing.end('web', { node: 'b', url: 'http://b' });
  t.throws(() => store.get('web'), { code: 'not-found' });
});

void t.test('a VM that has moved is forgotten, also where its files can not be removed', async (t) => {
  const { store, outgoing, directory } = await openNode(t);
  await store.define(definitionOf('web'), undefined);
  await store.start('web');
  outgoing.begin('web', 'm-00000001');
  await rm(directory, { recursive: true });
  await writeFile(directory, 'in the way');
  const there = { node: 'b', url: 'http://b' };
  t.notOk(await outgoing.end('web', there));
  t.throws(() => store.get('web'), { code: 'not-found' });
  t.notOk(await outgoing.end('web', there), 'they are still there');
  await rm(directory);
  await mkdir(directory);
  t.ok(await outgoing.end('web', there));
  t.ok(await outgoing.end('web', null));
});

void t.test(
  'a VM that has moved, and whose machine here can not be ended, is not started again',
  async (t) => {
    const { store, outgoing, guest, directory } = await openOn(t, null);
    guest.failing.add('destroy');
    outgoing.begin('web', 'm-00000001');
    const to = { node: 'b', url: 'http://b' };
    t.equal(await outgoing.end('web', to), false, 'which the journal must remember');
    t.match(store.get('web'), {
      status: 'stray',
      migration: null,
      failure: /could not be ended: destroy was told/,
    });
    await t.rejects(store.start('web'), { code: 'wrong-state' });
    await t.rejects(store.stop('web'), { code: 'guest-failed' });
    guest.failing.clear();
    await store.stop('web');
    t.throws(() => store.get('web'), { code: 'not-found' }, 'it is gone here, as it should have been');
    t.strictSame(await readdir(directory), []);
    await store.define(definitionOf('web'), undefined);
    t.equal(await outgoing.end('web', to), true);
    t.equal(store.get('web').status, 'stopped', 'another one of that name is left alone');
  },
);
