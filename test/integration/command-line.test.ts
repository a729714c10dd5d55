import { once } from 'node:events';
import t from 'tap';
import type {
  MigrationInfo,
  MigrationResult,
  PreflightReport,
  QueueEntry,
  StatusReport,
} from '../../shared/api.js';
import { AgentLab, vmferry } from '../support/agent-lab.js';
import { runCommand } from '../support/api-terminal.js';

/** The contract with scripts, exit codes and JSON documents, with real agents behind the real command. */

const lab = await AgentLab.start(t, ['a', 'b'], (node) => ({
  guestMemory: node === 'a' ? '32MiB' : '4MiB',
}));

const run = (...args: string[]) => lab.command('a', ...args);

/** In this process: many commands, whose ends are all that matters. */
const runHere = (...args: string[]) => runCommand([...args, '--agent', lab.agent('a').url]);

/** What `vmferry migrate --json` promises beside `error`, with the type of each field. */
const RESULT: { [field: string]: string } = {
  id: 'string',
  vm: 'string',
  from: 'string',
  to: 'string',
  outcome: 'string',
  totalMs: 'number',
  downtimeMs: 'number',
  downtime: 'object',
  rounds: 'object',
  ramBytes: 'number',
  populatedBytes: 'number',
  wireBytes: 'number',
  writeLog: 'string',
  verify: 'object',
};
const DOWNTIME = ['pauseMs', 'residualMs', 'stateMs', 'loadMs', 'resumeMs'];
const ROUND = [
  'round',
  'pages',
  'zeroPages',
  'bytes',
  'wireBytes',
  'ms',
  'bytesPerSecond',
  'dirtyPagesPerSecond',
  'residualPages',
];

await t.test('what an agent finds wrong with a definition is told with its place in the file', async (t) => {
  const base = 'name: wrong\nkind: embedded\nmemory: 2MiB\n';
  const qemu = 'name: wrong\nkind: qemu\nmemory: 64MiB\n';
  for (const [text, place] of [
    [
      `${base}program: dirty\nparameters:\n  pagesPerSecond: 10\n  rate: 5\n`,
      /:7: parameters\.rate: found 5; .*it takes/,
    ],
    [
      `${base}program: dirty\nparameters: { pagesPerSecond: 5000000 }\n`,
      /:5: parameters\.pagesPerSecond: found 5000000; .*give 0 to 4000000 pages\/s/,
    ],
    [
      `${base}program: dirty\nparameters: { workingSetPages: 5000 }\n`,
      /:5: parameters: found .*; .* room for/,
    ],
    [`${base}elf: wrong.yaml\n`, /:4: elf: found 'wrong\.yaml'; .*ELF/],
    [
      `${qemu}disks:\n  - file: /dev/null/a\n`,
      /:5: disks\.0\.file: found '\/dev\/null\/a'; the disk .*put it there/,
    ],
    [`${qemu}disks: [{ file: /nowhere/a.img }]\n`, /:4: disks\.0\.file: found .*; .*there is no such file/],
    [
      `${qemu}disks: [{ file: /dev/zero }]\n`,
      /:4: disks\.0\.file: found .*neither a file nor a block device/,
    ],
    [
      `${qemu}boot:\n  kernel: /proc/version\n  initrd: /tmp\n`,
      /:6: boot\.initrd: found '\/tmp'; .*is a directory/,
    ],
    [
      `${qemu}boot:\n  kernel: /nowhere/vmlinuz\n`,
      /:5: boot\.kernel: found '\/nowhere\/vmlinuz'; the kernel/,
    ],
    [
      `${qemu}arguments:\n  - -bios\n  - /nowhere/bios\n`,
      /:6: arguments\.1: found '\/nowhere\/bios'; the firmware/,
    ],
    [
      `${qemu}arguments: ['-drive', 'if=pflash,file=/nowhere/f']\n`,
      /:4: arguments\.1: found .*; the firmware \/nowhere\/f can't be used/,
    ],
    [`${qemu}arguments:\n  - -snapshot\n`, /:5: arguments\.0: found '-snapshot'; .*leave it out/],
  ] as const) {
    const file = await lab.file('wrong.yaml', text);
    const { exitCode, stderr } = await runHere('vm', 'define', file);
    t.equal(exitCode, 2);
    t.match(stderr, `wrong.yaml:`);
    t.match(stderr, place);
  }
});

await t.test('define, start, dry run, migrate, look: 0', async (t) => {
  const file = await lab.file('web.yaml', 'name: web\nkind: embedded\nmemory: 2MiB\nprogram: ticker\n');
  t.match(await run('vm', 'define', file), { exitCode: 0, stdout: /web is defined/ });
  t.match(await run('vm', 'start', 'web'), { exitCode: 0, stdout: /web is started/ });
  const dry = await run('migrate', 'web', '--to', 'b', '--dry-run', '--json');
  t.equal(dry.exitCode, 0);
  t.match(JSON.parse(dry.stdout) as PreflightReport, {
    vm: 'web',
    from: 'a',
    to: 'b',
    ok: true,
    findings: [
      { level: 'ok', code: 'write-log', message: /store-path/ },
      { level: 'ok', code: 'target-ready' },
    ],
  });
  t.strictSame(await lab.whereIs('web'), { a: 'running' }, 'a dry run changes nothing');

  const moved = await run('migrate', 'web', '--to', 'b', '--verify', 'after', '--json');
  t.equal(moved.exitCode, 0);
  const result = JSON.parse(moved.stdout) as MigrationResult;
  for (const [field, type] of Object.entries(RESULT))
    t.type(result[field as keyof MigrationResult], type, field);
  t.match(result, { vm: 'web', from: 'a', to: 'b', outcome: 'completed', error: null, ramBytes: 2 ** 21 });
  for (const field of DOWNTIME)
    t.type(result.downtime[field as keyof typeof result.downtime], 'number', field);
  for (const round of result.rounds) {
    for (const field of ROUND) t.type(round[field as keyof typeof round], 'number', field);
  }
  t.match(result.verify, { mode: 'after', pagesChecked: 512, mismatches: 0 });
  t.match(JSON.parse((await lab.command('b', 'vm', 'show', 'web', '--json')).stdout), { status: 'running' });

  const back = await lab.command('b', 'migrate', 'web', '--to', 'a');
  t.equal(back.exitCode, 0);
  t.match(back.stdout, /web moved from b to a in .*downtime/s);
});

await t.test('wrong usage: 2', async (t) => {
  for (const args of [
    ['migrate', 'web'],
    ['migrate', 'web', '--to', 'b', '--max-downtime', 'soon'],
    ['migrate', 'web', '--to', 'b', '--streams', '99'],
    ['teleport', 'web'],
  ]) {
    const { exitCode, stderr } = await runHere(...args);
    t.equal(exitCode, 2, args.join(' '));
    t.match(stderr, /^vmferry: /);
  }
});

await t.test('refused: 3', async (t) => {
  const big = { name: 'big', memory: 16 * 2 ** 20 };
  await lab.boot('a', big);
  await lab.boot('a', { name: 'twin' });
  await lab.boot('b', { name: 'twin' });
  await lab
    .client('a')
    .defineGuest(
      { name: 'off', kind: 'embedded', memory: 2 ** 20, program: 'idle', parameters: {} },
      undefined,
    );
  const refusals = [
    [['migrate', 'web', '--to', 'z'], /node z is not known here: add it to 'peers'/],
    [['migrate', 'web', '--to', 'a'], /node a is this node: name another/],
    [['migrate', 'big', '--to', 'b'], /needs 16\.0 MiB and node b has .* left for guests/],
    [['migrate', 'twin', '--to', 'b'], /node b has a VM named twin already/],
    [['migrate', 'off', '--to', 'b'], /start it before it is migrated/],
    [['migrate', 'nobody', '--to', 'b'], /no node of the cluster has VM nobody/],
  ] as const;
  for (const [args, message] of refusals) {
    const refused = await runHere(...args);
    t.equal(refused.exitCode, 3, args.join(' '));
    t.match(refused.stderr, message);
  }
  for (const args of [
    ['migrate', 'big', '--to', 'b'],
    ['vm', 'show', 'big'],
  ]) {
    const elsewhere = await vmferry(lab.agent('b').url, args).ended;
    t.equal(elsewhere.exitCode, 3);
    t.match(
      elsewhere.stderr,
      `it is on node a. Run: vmferry ${args.join(' ')} --agent ${lab.agent('a').url}\n`,
    );
  }
  const dry = await run('migrate', 'big', '--to', 'b', '--dry-run', '--json');
  t.equal(dry.exitCode, 3);
  t.match(JSON.parse(dry.stdout), { ok: false, findings: [{}, { code: 'target-out-of-memory' }] });
  t.strictSame(await lab.whereIs('big'), { a: 'running' });
});

await t.test('detach, status, queue, a cancel from elsewhere: 0 and 4', async (t) => {
  const guest = { program: 'dirty', parameters: { workingSetPages: 200, pagesPerSecond: 0 } } as const;
  await lab.boot('a', { name: 'slow', ...guest });
  const detached = await run('migrate', 'slow', '--to', 'b', '--bandwidth', '100KB', '--detach', '--json');
  t.equal(detached.exitCode, 0);
  const { id } = JSON.parse(detached.stdout) as MigrationInfo;
  await lab.copying('a', id);

  const status = JSON.parse((await run('status', '--json')).stdout) as StatusReport;
  t.match(
    status.migrations.find((migration) => migration.id === id),
    { vm: 'slow', from: 'a', to: 'b', role: 'source', phase: 'copying', result: null },
  );
  const queue = JSON.parse((await run('queue', '--local', '--json')).stdout) as QueueEntry[];
  t.match(queue, [{ migration: id, position: 0, state: 'running', waitsFor: [] }]);
  t.match((await run('status')).stdout, new RegExp(`${id} +slow +a +b +copying`));
  const again = await run('migrate', 'slow', '--to', 'b');
  t.match(again, { exitCode: 3, stderr: /is part of migration .* already/ });

  const following = vmferry(lab.agent('a').url, ['migrate', 'web', '--to', 'b']);
  t.teardown(() => void following.child.kill());
  await once(following.child.stdout, 'readable');
  const waiting = (await lab.client('a').queue()).find(({ vm }) => vm === 'web');
  t.match(waiting, { position: 1, state: 'waiting', waitsFor: [{ node: 'a', holder: id }] });
  t.equal((await run('cancel', waiting!.migration)).exitCode, 0);
  t.match(await following.ended, { exitCode: 4, stderr: /cancelled/ });

  t.match(await run('cancel', id), { exitCode: 0, stdout: /slow is on a as before/ });
  t.match(await run('cancel', id), { exitCode: 1, stderr: /has ended already: it is cancelled/ });
  t.match(await run('cancel', 'm-000000000000'), {
    exitCode: 3,
    stderr: /no node of the cluster has migration m-000000000000/,
  });
  t.strictSame(await lab.whereIs('web'), { a: 'running' });
});

await t.test('the target or the agent is not there: 1', async (t) => {
  await lab.agent('b').stop();
  const unreachable = await run('migrate', 'web', '--to', 'b');
  t.match(unreachable, { exitCode: 1, stderr: /node b cannot be reached at .*refused/i });
  t.strictSame(await lab.whereIs('web', ['a']), { a: 'running' });
  const { exitCode, stdout } = await lab.command('b', 'status', '--json');
  t.equal(exitCode, 1);
  t.match(JSON.parse(stdout), { error: { code: 'peer-unreachable' } });
});
