import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import type { JournalEntry } from '../../agent/journal/ownership-journal.js';
import { definitionOf } from '../support/array-guest.js';
import { MIB, openNode, openOn, regionsOf } from '../support/node-guests.js';

void t.test('definitions and images survive the agent', async (t) => {
  const { store, open, directory } = await openNode(t);
  await store.define(definitionOf('web'), Buffer.from('elf'));
  await store.close();
  const again = await open();
  t.equal(again.store.get('web').status, 'stopped');
  t.equal(again.outgoing.outline('web').imageBytes, 3);
  await writeFile(join(directory, 'bad.json'), '{"name":');
  await t.rejects(open(), { code: 'invalid-definition', message: /bad\.json/ });
});

void t.test('memory is counted: a guest that does not fit is refused with what is free', async (t) => {
  const { store, incoming } = await openNode(t, 2 * MIB);
  for (const name of ['one', 'two', 'three']) await store.define(definitionOf(name), undefined);
  await store.start('one');
  await store.start('two');
  await t.rejects(store.start('three'), {
    code: 'target-out-of-memory',
    message: /three needs 1\.0 MiB.*0 B left/,
  });
  t.equal(store.get('three').status, 'stopped');
  const big = definitionOf('four');
  t.strictSame(
    incoming.check(big, regionsOf(big)).map(({ code }) => code),
    ['target-out-of-memory'],
  );
  await store.stop('one');
  await store.start('three');
});

void t.test('no other guest gets the name of one whose outcome is open', async (t) => {
  const decisions: JournalEntry[] = [];
  const { store, incoming } = await openNode(t, 4 * MIB, undefined, decisions);
  const definition = definitionOf('web');
  const entry = { migration: 'm-00000001', vm: 'web', peer: 'b', at: new Date().toISOString() };
  decisions.push({ ...entry, decision: 'commit-sent' });
  // It would be ended by the answer, which is about the one before it.
  const refusal = { message: /m-00000001 took to node b: 'vmferry vm resolve web'/ };
  await t.rejects(store.define(definition, undefined), { code: 'name-taken', ...refusal });
  const coming = incoming.create(definition, regionsOf(definition), 'm-00000002');
  await t.rejects(coming, { code: 'target-has-guest', ...refusal });
  await store.define(definitionOf('other'), undefined);
  decisions[0] = { ...entry, decision: 'released' };
  await store.define(definition, undefined);
});

void t.test('a name is taken from the moment that a machine is to be adopted by it', async (t) => {
  const { store } = await openOn(t, 'm-00000009');
  const adopting = store.takeOver('new', '/run/new.qmp');
  await t.rejects(store.define(definitionOf('new'), undefined), {
    code: 'name-taken',
    message: /being adopted/,
  });
  await adopting;
  t.equal(store.get('new').status, 'paused');
});
