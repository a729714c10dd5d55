import t, { type Test } from 'tap';
import { EXIT, type ErrorAnswer, type MigrationResult } from '../../shared/api.js';
import { MigrationError } from '../../shared/errors.js';
import { FakeAgentService } from '../support/api-fake-service.js';
import {
  completedMigration,
  consoleChunk,
  definition,
  migrationEvents,
  migrationInfo,
  MIGRATION_ID,
  migrationResult,
} from '../support/api-samples.js';
import { listeningServer } from '../support/api-server.js';
import { FakeTerminal, runCommand } from '../support/api-terminal.js';

/** An agent, and `vmferry` with --agent pointing at it. */
async function agent(t: Test) {
  const service = new FakeAgentService();
  const { app, url } = await listeningServer(service);
  t.teardown(() => app.close());
  const vmferry = async (line: string, terminal?: FakeTerminal) =>
    await runCommand([...line.split(' '), '--agent', url], terminal);
  return { service, vmferry, url, app };
}

await t.test('guests, from their definition to their end', async (t) => {
  const { service, vmferry } = await agent(t);
  const folder = t.testdir({
    'own.yaml': 'name: own\nkind: embedded\nmemory: 2MiB\nelf: own.elf\n',
    'own.elf': 'the image',
  });
  const defined = await vmferry(`vm define ${folder}/own.yaml`);
  t.same(defined, {
    exitCode: 0,
    stdout: "own is defined; start it with 'vmferry vm start own'\n",
    stderr: '',
  });
  const [, sent, image] = service.calls[0] ?? [];
  t.match(sent, { name: 'own', memory: 2 * 1024 * 1024, program: 'image' });
  t.equal(Buffer.from(image as Uint8Array).toString(), 'the image');

  const piped = new FakeTerminal();
  piped.stdin.end(JSON.stringify({ ...definition, name: 'web-2' }));
  t.match(await vmferry('vm define - --json', piped), { exitCode: 0, stdout: /"name": "web-2"/ });

  for (const [line, words] of [
    ['vm start web-1', 'web-1 is started'],
    ['vm pause web-1', 'web-1 is paused'],
    ['vm resume web-1', 'web-1 runs'],
    ['vm stop web-1', 'web-1 is stopped'],
    ['vm undefine own', 'own is not defined any more'],
  ] as const) {
    t.same(await vmferry(line), { exitCode: 0, stdout: `${words}\n`, stderr: '' }, line);
  }
  const list = await vmferry('vm list');
  t.match(list.stdout, /^vm +kind +status +memory +migration\nweb-1 +embedded +stopped +64\.0 MiB\n/);
  t.match((await vmferry('vm show web-1')).stdout, /^program +ticker\n/m);
  const shown = JSON.parse((await vmferry('vm show web-1 --json')).stdout) as unknown;
  t.same(shown, service.guest('web-1'));
});

await t.test('what goes on', async (t) => {
  const { service, vmferry } = await agent(t);
  service.current = migrationInfo({
    phase: 'copying',
    progress: { round: 1, pagesDone: 5, pagesTotal: 10, bytesPerSecond: 1e9 },
  });
  const status = await vmferry('status');
  t.match(status.stdout, /node a, vmferry 0\.1\.0, 64\.0 MiB of 4\.0 GiB for VMs in use/);
  t.match(status.stdout, /copying, round 1: 20\.0 KiB of 40\.0 KiB/);
  t.same(JSON.parse((await vmferry('status --json')).stdout), service.status());
  service.current = migrationInfo({ role: 'target', phase: 'ended', from: 'b', to: 'a' });
  t.match((await vmferry('status')).stdout, / b +a +ended, as node b knows /);
  service.current = migrationInfo();
  t.match((await vmferry('queue --local')).stdout, /^no migration runs or waits at this node\n$/);
  service.queueEntries = [
    {
      migration: MIGRATION_ID,
      vm: 'web-1',
      from: 'a',
      to: 'b',
      requestedAt: '2026-11-22T22:00:00.000Z',
      priority: 0,
      position: 1,
      state: 'waiting',
      waitsFor: [{ node: 'b', holder: 'c-20261122-0009' }],
      overtaken: 2,
      overtakeLimit: 8,
    },
  ];
  t.match(
    (await vmferry('queue --local')).stdout,
    /1 +a-20261122-0001 +web-1 +a +b +b \(c-20261122-0009\) +2 of 8\n/,
  );
  t.same(JSON.parse((await vmferry('queue --local --json')).stdout), service.queueEntries);
  t.match(await vmferry(`cancel ${MIGRATION_ID}`), { exitCode: 0, stdout: /is cancelled: web-1 is on a/ });
  service.failures.set('cancelMigration', new MigrationError('too-late', 'the commit was sent'));
  t.same(await vmferry(`cancel ${MIGRATION_ID}`), {
    exitCode: EXIT.failed,
    stdout: '',
    stderr: 'vmferry: the commit was sent\n',
  });
});

await t.test('who is not known is told by which options he proves who he is', async (t) => {
  const { service, vmferry } = await agent(t);
  service.failures.set('cancelMigration', new MigrationError('unauthenticated', 'the request has no token'));
  t.same(await vmferry(`cancel ${MIGRATION_ID}`), {
    exitCode: EXIT.failed,
    stdout: '',
    stderr:
      'vmferry: the request has no token. Tokens are given with --token-file, certificates with --ca, --certificate and --key\n',
  });
});

await t.test('a machine of somebody else is adopted', async (t) => {
  const { service, vmferry } = await agent(t);
  t.match(await vmferry('vm adopt db-1 --qmp /run/db.qmp'), {
    exitCode: 0,
    stdout: /db-1 is adopted: it is running/,
  });
  t.same(service.calls.at(-1), ['adoptGuest', 'db-1', '/run/db.qmp']);
  service.failures.set('adoptGuest', new MigrationError('unsupported-guest', 'its RAM is no shared file'));
  t.match(await vmferry('vm adopt db-2 --qmp /run/db.qmp'), {
    exitCode: EXIT.refused,
    stderr: /no shared file/,
  });
  t.match(await vmferry('vm adopt db-2'), { exitCode: EXIT.usage, stderr: /qmp/ });
});

await t.test('whose a VM is', async (t) => {
  const { service, vmferry } = await agent(t);
  t.match(await vmferry('vm resolve web-1 --json'), {
    exitCode: service.outcome.open ? EXIT.unknown : EXIT.done,
  });
  t.same(service.calls.at(-1), ['guestOutcome', 'web-1'], 'without an owner it only tells');
  for (const force of [false, true]) {
    t.match(await vmferry(`vm resolve web-1 --owner a${force ? ' --force' : ''}`), { exitCode: EXIT.done });
    t.same(service.calls.at(-1), ['resolveGuest', 'web-1', { owner: 'a', force }]);
  }
  t.match(await vmferry('vm resolve web-1 --force'), { exitCode: EXIT.usage, stderr: /owner/ });
});

await t.test('doctor', async (t) => {
  const { service, vmferry } = await agent(t);
  service.health.findings.push({ level: 'ok', code: 'qemu', message: 'QEMU 7.2.0' });
  t.match(await vmferry('doctor'), {
    exitCode: EXIT.done,
    stdout:
      /^1 node and 0 pairs, named by node a\n\nnode a: ok, .*\n\nVMs can run and move \(0 refusals, 0 warn/s,
  });
  t.match((await vmferry('doctor --verbose')).stdout, /node a\n {2}ok: QEMU 7\.2\.0 \(qemu\)\n/);
  const refusal = { level: 'refusal', code: 'kvm', message: 'no kvm', remedy: 'load kvm' } as const;
  service.health = { ...service.health, ok: false, findings: [refusal] };
  t.match(await vmferry('doctor a'), {
    exitCode: EXIT.refused,
    stdout: /node a\n {2}refusal: no kvm \(kvm\)\n {4}load kvm\n.*not all VMs can run and move/s,
  });
  const json = JSON.parse((await vmferry('doctor --json')).stdout) as unknown;
  t.match(json, { ok: false, refusals: 1, node: 'a', nodes: [{ node: 'a', facts: service.health.facts }] });
  t.match(await vmferry('doctor c'), { exitCode: EXIT.refused, stderr: /known: a/ });
  service.failures.set('doctorPeers', new MigrationError('not-found', 'there is no such path'));
  t.match((await vmferry('doctor')).stdout, /warning: a part of the checks of node a was not to be had/);
  service.failures.set('node', new MigrationError('unauthenticated', 'the request has no token'));
  t.match(await vmferry('doctor'), {
    exitCode: EXIT.refused,
    stdout: /refusal: the agent of node a refuses to answer you: the request has no token/,
  });
});

await t.test('a migration that is followed', async (t) => {
  const { service, vmferry } = await agent(t);
  service.eventLog.push(...completedMigration()).end(null);
  const line =
    'migrate web-1 --to b --max-downtime 10ms --bandwidth 1gbit --verify after --on-limit cancel --max-rounds 7 --max-time 2min --stall-rounds 3 --streams 2';
  const { exitCode, stdout, stderr } = await vmferry(line);
  t.equal(exitCode, EXIT.done);
  t.equal(stderr, '');
  t.same(service.calls[0], [
    'startMigration',
    {
      vm: 'web-1',
      to: 'b',
      options: {
        maxDowntimeMs: 10,
        bandwidthBytesPerSecond: 125_000_000,
        verify: 'after',
        onLimit: 'cancel',
        maxRounds: 7,
        maxTotalMs: 120_000,
        stallRounds: 3,
        streams: 2,
      },
    },
  ]);
  t.match(stdout, /^preparing\ncopying\nround 0: 16384 pages/, 'progress first');
  t.match(stdout, /^web-1 moved from a to b in 813 ms \(migration a-20261122-0001\)$/m);
  t.match(
    stdout,
    /^downtime 6\.5 ms: pause 0\.5 ms, residual 2\.0 ms, state 1\.0 ms, load 1\.0 ms, resume 2\.0 ms$/m,
  );
  const json = await vmferry('migrate web-1 --to b --json');
  t.same(JSON.parse(json.stdout), migrationResult(), 'one document and nothing else');
  t.equal(json.stderr, '');
});

await t.test('a migration that is asked for in wrong numbers: the options are named', async (t) => {
  const { service, vmferry } = await agent(t);
  for (const [options, complaint] of [
    ['--max-rounds 0', '--max-rounds: found 0; must be at least 1'],
    ['--stall-rounds 1.5', '--stall-rounds: found 1.5; must be a whole number'],
    [
      '--streams 99 --priority 11',
      '--streams: found 99; must be at most 16; --priority: found 11; must be at most 10',
    ],
    ['--streams many', "--streams: found many; must be 'auto' or a number from 1 to 16"],
    ['--priority high', '--priority: found no number; must be a number'],
  ] as const) {
    const said = await vmferry(`migrate web-1 --to b ${options}`);
    t.match(said, { exitCode: EXIT.usage, stderr: `vmferry: ${complaint}\n` });
  }
  t.same(service.calls, [], 'no agent is asked');
});

await t.test('how a migration ends is the exit code', async (t) => {
  const why = (code: 'link-lost' | 'target-has-guest' | 'cancelled' | 'outcome-unknown') =>
    new MigrationError(code, `because of ${code}`).toJSON();
  for (const [result, exitCode, words] of [
    [migrationResult({ outcome: 'failed', error: why('link-lost') }), EXIT.failed, /web-1 is on a as before/],
    [migrationResult({ outcome: 'failed', error: why('target-has-guest') }), EXIT.refused, /failed/],
    [migrationResult({ outcome: 'cancelled', error: why('cancelled') }), EXIT.cancelled, /was cancelled/],
    [
      migrationResult({ outcome: 'unknown', error: why('outcome-unknown') }),
      EXIT.unknown,
      /stays paused on a/,
    ],
  ] as const) {
    const { service, vmferry } = await agent(t);
    service.eventLog.push(...migrationEvents({ event: 'ended', result })).end(null);
    const text = await vmferry('migrate web-1 --to b');
    t.equal(text.exitCode, exitCode, result.outcome);
    t.match(text.stdout, words);
    t.equal(text.stderr, `vmferry: ${result.error?.message}\n`);
    const json = await vmferry('migrate web-1 --to b --json');
    t.equal(json.exitCode, exitCode);
    t.same(JSON.parse(json.stdout) as MigrationResult, result);
  }
});

await t.test('a start that is refused, a dry run, a detached start', async (t) => {
  const { service, vmferry } = await agent(t);
  t.match(await vmferry('migrate nope --to b'), { exitCode: EXIT.refused, stderr: /'nope' is not defined/ });
  t.match(await vmferry('migrate web-1 --to b --dry-run'), {
    exitCode: EXIT.done,
    stdout: /can move from a to b/,
  });
  service.report = {
    vm: 'web-1',
    from: 'a',
    to: 'b',
    ok: false,
    findings: [
      {
        level: 'refusal',
        code: 'target-has-guest',
        message: 'b has a VM web-1',
        remedy: 'undefine it there',
      },
    ],
  };
  t.same(await vmferry('migrate web-1 --to b --dry-run'), {
    exitCode: EXIT.refused,
    stdout:
      "refusal: b has a VM web-1 (target-has-guest)\n  undefine it there\nweb-1 can't move from a to b; nothing was changed\n",
    stderr: '',
  });
  t.same(JSON.parse((await vmferry('migrate web-1 --to b --dry-run --json')).stdout), service.report);
  const detached = await vmferry('migrate web-1 --to b --detach');
  t.match(detached, { exitCode: EXIT.done, stdout: /'vmferry cancel a-20261122-0001'/ });
  t.same(JSON.parse((await vmferry('migrate web-1 --to b --detach --json')).stdout), migrationInfo());
});

await t.test('an event stream that breaks is taken up again', async (t) => {
  const { service, vmferry } = await agent(t);
  service.eventLog.push(...completedMigration()).end(null);
  service.streamLimits.push(3, 2);
  const { exitCode, stdout } = await vmferry('migrate web-1 --to b');
  t.equal(exitCode, EXIT.done);
  t.equal(stdout.match(/^copying$/gm)?.length, 1, 'nothing is shown twice');
  t.same(
    service.calls.filter(([name]) => name === 'migrationEvents').map(([, , after]) => after),
    [-1, 2, 4],
  );
});

await t.test('Ctrl-C cancels and waits for the end', async (t) => {
  const { service, vmferry } = await agent(t);
  const terminal = new FakeTerminal();
  const result = migrationResult({
    outcome: 'cancelled',
    error: new MigrationError('cancelled', 'cancelled on request').toJSON(),
  });
  const started = completedMigration().slice(0, 2);
  service.eventLog.push(...started);
  service.onCancel = () =>
    service.eventLog.push({ seq: 2, at: '', migration: MIGRATION_ID, event: 'ended', result }).end(null);
  const running = vmferry('migrate web-1 --to b', terminal);
  await service.eventLog.until((log) => log.readers === 1);
  terminal.interrupt();
  const { exitCode, stdout, stderr } = await running;
  t.equal(exitCode, EXIT.cancelled);
  t.match(stdout, /was cancelled: web-1 is on a as before/);
  t.match(stderr, /cancelling migration a-20261122-0001; .* start it with --detach/);
  t.ok(service.calls.some(([name]) => name === 'cancelMigration'));
});

await t.test('a cancel that comes too late is said, and a second Ctrl-C leaves', async (t) => {
  const { service, vmferry } = await agent(t);
  const terminal = new FakeTerminal();
  service.failures.set('cancelMigration', new MigrationError('too-late', 'the commit was sent'));
  const running = vmferry('migrate web-1 --to b --json', terminal);
  await service.eventLog.until((log) => log.readers === 1);
  terminal.interrupt();
  terminal.interrupt();
  const { exitCode, stdout, stderr } = await running;
  t.equal(exitCode, EXIT.unknown);
  t.match(stderr, /you stopped following it\. It may go on; look with 'vmferry status/);
  t.match(JSON.parse(stdout) as ErrorAnswer, { error: { code: 'outcome-unknown' } });
});

await t.test('a console, wherever its VM goes', async (t) => {
  const a = await agent(t);
  const b = await agent(t);
  a.service.consoleLog
    .push(consoleChunk(0, 'on a\n'))
    .end({ reason: 'moved', to: { node: 'b', url: b.url } });
  b.service.consoleLog
    .push(consoleChunk(0, 'on a\n'), consoleChunk(5, 'on b\n'))
    .end({ reason: 'finished', to: null });
  t.same(await a.vmferry('vm console web-1 --no-input'), {
    exitCode: EXIT.done,
    stdout: 'on a\non b\n',
    stderr: 'vmferry: web-1 moved to b; its console goes on there\nvmferry: web-1 has finished\n',
  });
  t.match(await a.vmferry('vm console web-1 --no-follow'), { exitCode: EXIT.done, stdout: 'hello world\n' });
  t.same(JSON.parse((await a.vmferry('vm console web-1 --no-follow --json')).stdout), {
    position: 4,
    end: 16,
    text: 'hello world\n',
  });
  t.match(await a.vmferry('vm console web-1 --json'), { exitCode: EXIT.usage, stderr: /--no-follow/ });
  t.match(await a.vmferry('vm console nope'), { exitCode: EXIT.refused, stderr: /'nope' is not defined/ });
});

await t.test('input reaches the VM, and Ctrl-] leaves', async (t) => {
  const { service, vmferry } = await agent(t);
  const terminal = new FakeTerminal();
  Object.assign(terminal.stdin, { isTTY: true, setRawMode: () => undefined });
  service.onInput = () => terminal.stdin.write('\u001d');
  terminal.stdin.write('ls\r');
  const { exitCode, stderr } = await vmferry('vm console web-1', terminal);
  t.equal(exitCode, EXIT.done);
  t.same(service.calls, [['consoleInput', 'web-1', 'ls\r']]);
  t.equal(stderr, 'vmferry: console of web-1; Ctrl-] leaves\n');
});

await t.test('what is wrong with the line is said, with exit code 2', async (t) => {
  const cases: [string, RegExp][] = [
    ['', /a command is missing\. See 'vmferry --help'/],
    ['foo', /there is no command 'foo'\. See 'vmferry --help'/],
    ['migrte web-1 --to b', /there is no command 'migrte'; did you mean 'migrate'\? See 'vmferry --help'/],
    ['vm strat web-1', /there is no command 'vm strat'; did you mean 'vm start'\? See 'vmferry vm --help'/],
    ['vm', /say what to do: .* See 'vmferry vm --help'/],
    ['vm start', /See 'vmferry vm start --help'/],
    ['vm start web-1 --fast', /Unknown argument: fast/],
    ['vm list -x', /Unknown argument: x/],
    ['vm show a/b', /'a\/b' is not valid: must be 1 to 63 letters/],
    ['migrate web-1', /Missing required argument: to/],
    ['migrate web-1 --to b --max-downtime fast', /--max-downtime: duration 'fast' is not understood/],
    ['migrate web-1 --to b --bandwidth much', /--bandwidth: rate 'much' is not understood/],
    ['migrate web-1 --to b --verify maybe', /Choices: "off", "after", "strict"/],
    ['migrate web-1 --to b --streams 99', /--streams: found 99; must be at most 16/],
    ['migrate web-1 --to b --dry-run --detach', /mutually exclusive/],
    ['status --interval 5s', /--interval is for --watch: add that, or leave --interval out/],
    ['vm resolve web-1 --force', /--force is for --owner: add that/],
    ['migrate web-1 --to b --on-failure stop', /--on-failure is for --all-from: add that/],
    ['simulate --within 5', /--within is for --check: add that/],
    ['status --agent nope', /agent 'nope' is no URL/],
    ['vm define /nowhere.yaml', /\/nowhere\.yaml: there is no such file/],
  ];
  for (const [line, words] of cases) {
    const args = line === '' ? [] : line.split(' ');
    const text = await runCommand(args);
    t.equal(text.exitCode, EXIT.usage, line);
    t.match(text.stderr, words, line);
    t.match(text.stderr, /^vmferry: /, line);
    t.equal(text.stdout, '', line);
    const json = await runCommand([...args, '--json']);
    t.equal(json.exitCode, EXIT.usage, line);
    t.match((JSON.parse(json.stdout) as ErrorAnswer).error.message, words, `${line} --json`);
  }
});

await t.test('an agent that is not there', async (t) => {
  const { vmferry, app, url } = await agent(t);
  await app.close();
  t.same(await vmferry('status'), {
    exitCode: EXIT.failed,
    stdout: '',
    stderr: `vmferry: agent at ${url}: the connection is refused. Start it with 'systemctl start vmferry' (where it is installed) or 'vmferry agent --config FILE', or name another with --agent URL or VMFERRY_AGENT\n`,
  });
  t.match(await vmferry('migrate web-1 --to b'), { exitCode: EXIT.failed }, 'nothing was asked of it: known');
  const json = await vmferry('status --json');
  t.match(JSON.parse(json.stdout), { error: { code: 'peer-unreachable', retryable: true } });
});
