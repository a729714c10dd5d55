import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import { ServiceManager } from '../agent/service-manager.js';

/** A datagram socket that prints a line of JSON for each message: node has none, and Perl is on every Debian. */
const RECEIVER = `
  use Socket; $| = 1; my $path = shift; $path =~ s/^@/\\0/;
  socket(my $s, PF_UNIX, SOCK_DGRAM, 0) or die; bind($s, pack_sockaddr_un($path)) or die "bind: $!";
  print "bound\\n"; my $m; while (defined recv($s, $m, 65536, 0)) { $m =~ s/\\n/|/g; print "$m\\n"; }`;

const logger = pino({ level: 'silent' });

/** A path that a socket can have: those of test fixtures are too long. */
function socketPath(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'vmferry-notify-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  return join(directory, 'notify');
}

async function receiver(t: Test, address: string) {
  const child = spawn('perl', ['-e', RECEIVER, address], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(async () => {
    child.kill();
    await once(child, 'exit');
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<unknown> => (await lines.next()).value;
  t.equal(await next(), 'bound');
  return next;
}

void t.test('says what the agent does, to a path as to an abstract socket', async (t) => {
  for (const address of [socketPath(t), `@vmferry-test-${process.pid}`]) {
    const next = await receiver(t, address);
    const environment = { NOTIFY_SOCKET: address, HOME: '/' };
    const manager = new ServiceManager(environment, logger);
    t.strictSame(environment, { HOME: '/' }, 'what the agent starts is not to speak for it');
    manager.ready('node a serves\nat once');
    t.equal(await next(), 'READY=1|STATUS=node a serves at once');
    const before = process.hrtime.bigint() / 1000n;
    manager.reloading();
    const [, at] = /^RELOADING=1\|MONOTONIC_USEC=(\d+)$/.exec(String(await next())) ?? [];
    t.ok(BigInt(at ?? 0) >= before && BigInt(at ?? 0) <= process.hrtime.bigint() / 1000n);
    manager.stopping(45_000);
    t.equal(await next(), 'STOPPING=1|EXTEND_TIMEOUT_USEC=75000000|STATUS=shutting down');
  }
});

void t.test('shows that its event loop turns, where it is asked to', async (t) => {
  const address = socketPath(t);
  const next = await receiver(t, address);
  const watched = { NOTIFY_SOCKET: address, WATCHDOG_USEC: '30000', WATCHDOG_PID: String(process.pid) };
  new ServiceManager({ ...watched, WATCHDOG_PID: '1' }, logger).ready('of another process');
  t.match(await next(), /READY/);
  const manager = new ServiceManager(watched, logger);
  manager.ready('watched');
  t.equal(await next(), 'READY=1|STATUS=watched');
  // The interval itself does not keep a process alive, nor this test.
  const alive = setInterval(() => undefined, 1000);
  t.equal(await next(), 'WATCHDOG=1');
  t.equal(await next(), 'WATCHDOG=1');
  clearInterval(alive);
});

void t.test('nobody is told where nobody asks, and a manager that is gone ends nothing', (t) => {
  new ServiceManager({}, logger).ready('alone');
  const warnings: string[] = [];
  const sink = { write: (line: string) => warnings.push(line) };
  new ServiceManager({ NOTIFY_SOCKET: socketPath(t) }, pino({}, sink)).ready('told to nobody');
  t.equal(warnings.length, 1);
  t.match(warnings[0], /ENOENT.*the service manager could not be told/);
  t.end();
});
