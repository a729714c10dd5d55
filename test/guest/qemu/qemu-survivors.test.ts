import { arriving, savedState } from '../../support/array-guest.js';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'tap';
import type { GuestRecord } from '../../../agent/guest/qemu/process/guest-record.js';
import { identifyProcess, isAlive } from '../../../agent/guest/qemu/process/process-identity.js';
import { clearRemains } from '../../../agent/guest/qemu/process/remains.js';
import { RunDirectory } from '../../../agent/guest/qemu/process/run-directory.js';
import type { Survivor } from '../../../agent/guest/hosted-guest.js';
import { type GuestDefinition, QemuDefinitionSchema } from '../../../shared/guest-definition.js';
import { firstBreak, move, printsMore, QemuPair, transcript } from './qemu-pair.js';

/** What an agent that starts now finds on a node. */
async function survivorsOf(
  pair: QemuPair,
  node = 'source',
  definitions: readonly GuestDefinition[] = [],
): Promise<Survivor[]> {
  const definitionOf = (vm: string) => definitions.find(({ name }) => name === vm);
  return (await pair.kind(node).survivors?.(definitionOf)) ?? [];
}

async function onlySurvivor(pair: QemuPair, node = 'source'): Promise<Survivor> {
  const survivors = await survivorsOf(pair, node);
  if (survivors.length !== 1) throw new Error(`there are ${survivors.length} survivors`);
  return survivors[0]!;
}

function readRecord(pair: QemuPair, node = 'source'): GuestRecord {
  return JSON.parse(readFileSync(join(pair.runDirectory(node), 'guest.json'), 'utf8')) as GuestRecord;
}

void test('a guest that was let go runs on, and the next agent takes it up', async (t) => {
  const pair = new QemuPair(t);
  const before = await pair.boot();
  await before.resume();
  await printsMore(before);
  const { pid } = before;
  await before.detach();
  await before.destroy();
  t.ok(isAlive(readRecord(pair).process!), 'what was let go is not ended');

  const survivor = await onlySurvivor(pair);
  t.same(survivor.definition, before.definition);
  t.equal(survivor.incoming, null);
  const after = pair.keep(await survivor.takeUp());
  t.equal(after.pid, pid);
  t.equal(after.state, 'running');
  await after.settle();
  await printsMore(after);
  t.equal(after.console.start, 0);
  await after.pause();
  t.equal(firstBreak(transcript(after)), -1);
  await after.destroy();
  t.same(pair.remains(), []);
});

void test('a guest that its operator paused is taken up paused', async (t) => {
  const pair = new QemuPair(t);
  const before = await pair.boot();
  await before.resume();
  await before.pause();
  await before.detach();
  const after = pair.keep(await (await onlySurvivor(pair)).takeUp());
  await after.settle();
  t.equal(after.state, 'paused');
});

void test('a guest whose agent died in a migration runs again once it is settled', async (t) => {
  for (const saved of [false, true]) {
    await t.test(saved ? 'after its state was saved' : 'before its state was saved', async (t) => {
      const pair = new QemuPair(t);
      const before = await pair.boot();
      await before.resume();
      await before.pauseForSwitchover(() => undefined);
      if (saved) await before.saveState();
      await before.detach();
      const after = pair.keep(await (await onlySurvivor(pair)).takeUp());
      t.equal(after.state, 'paused', 'until it is known where it is to run');
      await after.settle();
      t.equal(after.state, 'running');
      await printsMore(after);
    });
  }
});

void test('a guest that was coming here', async (t) => {
  await t.test('and was not committed is destroyed', async (t) => {
    const pair = new QemuPair(t);
    const source = await pair.boot();
    const target = await pair.incoming(source);
    await target.detach();
    const survivor = await onlySurvivor(pair, 'target');
    t.equal(survivor.incoming, 'migration-1');
    await survivor.destroy();
    t.notOk(existsSync(pair.runDirectory('target')));
    t.same(await survivorsOf(pair, 'target'), []);
  });

  await t.test('and was committed runs as it did on the source', async (t) => {
    const pair = new QemuPair(t);
    const source = await pair.boot();
    await source.resume();
    const target = await pair.incoming(source);
    await target.loadState(arriving(await savedState(source)));
    await target.detach();
    const after = pair.keep(await (await onlySurvivor(pair, 'target')).takeUp());
    await after.settle();
    t.equal(after.state, 'paused', 'not before it is the own one of this node');
  });

  await t.test('and whose QEMU ended is not forgotten', async (t) => {
    const pair = new QemuPair(t);
    const target = await pair.incoming(await pair.boot());
    await target.detach();
    process.kill(target.pid, 'SIGKILL');
    while (isAlive(readRecord(pair, 'target').process!)) await new Promise(setImmediate);
    const survivor = await onlySurvivor(pair, 'target');
    t.match(survivor, { definition: target.definition, incoming: 'migration-1' });
    await t.rejects(survivor.takeUp(), {
      code: 'guest-failed',
      message: /QEMU of VM web-.*, which had come here, ended while no agent ran/,
    });
    t.ok(existsSync(pair.runDirectory('target')));
    await survivor.destroy();
    t.notOk(existsSync(pair.runDirectory('target')));
  });

  await t.test('and is the own one of this node', async (t) => {
    const pair = new QemuPair(t);
    const source = await pair.boot();
    await source.resume();
    const target = await pair.incoming(source);
    await move(source, target);
    await target.detach();
    const survivor = await onlySurvivor(pair, 'target');
    t.equal(survivor.incoming, null);
    const after = pair.keep(await survivor.takeUp());
    t.equal(after.console.end, source.console.end);
    await after.settle();
    t.equal(after.state, 'running');
    await printsMore(after);
  });
});

void test('what is left of a guest that ended while no agent ran is removed', async (t) => {
  const pair = new QemuPair(t);
  const guest = await pair.boot();
  await guest.detach();
  process.kill(guest.pid, 'SIGKILL');
  while (isAlive(readRecord(pair).process!)) await new Promise(setImmediate);
  t.same(await survivorsOf(pair), []);
  t.same(pair.remains(), []);
});

void test('a QEMU whose agent died before it noted the process is found and ended', async (t) => {
  const pair = new QemuPair(t);
  const guest = await pair.boot();
  const record = readRecord(pair);
  await guest.detach();
  writeFileSync(
    join(pair.runDirectory('source'), 'guest.json'),
    JSON.stringify({ ...record, process: null }),
  );
  const bystander = spawn('tail', ['-f', '/dev/null', record.qmpSocket], { stdio: 'ignore' });
  const exit = once(bystander, 'exit');
  await once(bystander, 'spawn');
  t.same(await survivorsOf(pair), []);
  t.notOk(isAlive(record.process!));
  t.equal(bystander.signalCode, null);
  t.ok(identifyProcess(bystander.pid!), 'one that only names the socket lives');
  bystander.kill('SIGKILL');
  await exit;
  t.same(pair.remains(), []);
});

void test('directories that are none of ours', async (t) => {
  const pair = new QemuPair(t);
  const empty = pair.runDirectory('source', 'empty');
  const damaged = pair.runDirectory('source', 'damaged');
  const foreign = [pair.runDirectory('source', 'lock'), pair.runDirectory('source', 'systemd')];
  const hidden = pair.runDirectory('source', '.ssh');
  foreign.push(hidden);
  for (const path of [...foreign, empty, damaged]) mkdirSync(path, { recursive: true });
  chmodSync(empty, 0o700);
  chmodSync(hidden, 0o700);
  chmodSync(foreign[1]!, 0o700);
  writeFileSync(join(foreign[1]!, 'notify'), '');
  writeFileSync(join(damaged, 'guest.json'), '{"version": 1}');
  t.same(await survivorsOf(pair), []);
  t.notOk(existsSync(empty), 'without a record nothing was ever started');
  t.ok(existsSync(damaged), 'is for a person to look at');
  for (const path of foreign)
    t.ok(existsSync(path), 'those of others stay, should the run directory be theirs');
  await t.rejects(new RunDirectory(dirname(damaged), 'systemd').create(), {
    code: 'guest-failed',
    message: /systemd\/notify is none of a VM's files: move it away, or configure another runDirectory/,
  });
  writeFileSync(join(damaged, 'guest.json'), 'no JSON');
  t.same(await survivorsOf(pair), []);
  const beside = clearRemains(new RunDirectory(dirname(damaged), 'damaged'), 'a');
  await t.rejects(beside, { code: 'guest-failed' }, 'no QEMU is started beside what it may be about');
  for (const path of [...foreign, damaged]) rmSync(path, { recursive: true });
});

for (const [what, damage] of [
  ['is garbled', (file: string) => writeFileSync(file, 'no JSON')],
  ['is gone', (file: string) => rmSync(file)],
] as const) {
  void test(`a guest whose record ${what} can't be taken up, but ended`, async (t) => {
    const pair = new QemuPair(t);
    const guest = await pair.boot();
    const { process: identity, ramFiles } = readRecord(pair);
    await guest.detach();
    damage(join(pair.runDirectory('source'), 'guest.json'));
    const definitions = [guest.definition];
    const [survivor] = await survivorsOf(pair, 'source', definitions);
    t.same(survivor?.definition, guest.definition);
    await t.rejects(survivor!.takeUp(), {
      code: 'guest-failed',
      message: /guest\.json is (not readable|gone)/,
    });
    t.ok(isAlive(identity!));
    await survivor!.destroy();
    t.notOk(isAlive(identity!));
    t.notOk(existsSync(pair.runDirectory('source')));
    t.same(await survivorsOf(pair, 'source', definitions), []);
    for (const file of ramFiles) rmSync(file, { force: true });
  });
}

void test('one that may have been adopted is not taken for one that has ended', async (t) => {
  const pair = new QemuPair(t);
  const directory = pair.runDirectory('source', 'foreign');
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  writeFileSync(join(directory, 'guest.json'), '{}');
  const definition = QemuDefinitionSchema.parse({ name: 'foreign', kind: 'qemu', memory: '64MiB' });
  const [survivor] = await survivorsOf(pair, 'source', [definition]);
  await t.rejects(survivor!.destroy(), {
    code: 'guest-failed',
    message: /nobody can tell which it is: end it/,
  });
  t.ok(existsSync(directory));
  rmSync(directory, { recursive: true });
});
