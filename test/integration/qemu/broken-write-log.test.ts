import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { pino } from 'pino';
import t from 'tap';
import { Agent } from '../../../agent/agent.js';
import type { AgentService } from '../../../agent/api/service.js';
import { embeddedKind } from '../../../agent/guest/embedded/embedded-kind.js';
import type { WriteLog } from '../../../agent/guest/guest.js';
import type { GuestKind, HostedGuest } from '../../../agent/guest/hosted-guest.js';
import { qemuKind } from '../../../agent/guest/qemu/qemu-kind.js';
import { buildPageWalker } from '../../../scripts/lab/guests/boot-sector/page-walker.js';
import { ALLOW_ALL_FILES } from '../../../scripts/lab/agent-process.js';
import { qemuProcesses } from '../../../scripts/lab/qemu-processes.js';
import type { MigrationResult } from '../../../shared/api.js';
import { AgentConfigSchema } from '../../../shared/config.js';
import { GuestDefinitionSchema, type QemuDefinition } from '../../../shared/guest-definition.js';
import type { VerifyMode } from '../../../shared/protocol/messages.js';

/** A write-log that misses one page, each time that it is harvested, is found by comparing memory. */

const MIB = 2 ** 20;
/** The write-log never has it. */
const FORGOTTEN_PAGE = 1000;

/** The guests of a kind, with a write-log that never mentions one page. */
function forgetful(kind: GuestKind<QemuDefinition>): GuestKind<QemuDefinition> {
  const real = new Map<HostedGuest, HostedGuest>();
  return {
    ...kind,
    async boot(definition, image) {
      const guest = await kind.boot(definition, image);
      const wrapped = withWriteLog(guest, forgetting(guest.writeLog));
      real.set(wrapped, guest);
      return wrapped;
    },
    preflightSource: (guest) => kind.preflightSource!(real.get(guest) ?? guest),
  };
}

function withWriteLog(guest: HostedGuest, writeLog: WriteLog): HostedGuest {
  return new Proxy(guest, {
    get(target, name) {
      if (name === 'writeLog') return writeLog;
      const value: unknown = Reflect.get(target, name, target);
      // Its methods reach private fields, which a proxy has not.
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}

function forgetting(log: WriteLog): WriteLog {
  return {
    kind: log.kind,
    reason: log.reason,
    start: () => log.start(),
    confirm: () => log.confirm?.(),
    stop: () => log.stop(),
    async harvest() {
      const runs = await log.harvest();
      return runs.flatMap((run) => {
        const before = FORGOTTEN_PAGE - run.firstPage;
        if (run.region !== 0 || before < 0 || before >= run.pageCount) return [run];
        const after = { ...run, firstPage: FORGOTTEN_PAGE + 1, pageCount: run.pageCount - before - 1 };
        return [{ ...run, pageCount: before }, after].filter(({ pageCount }) => pageCount > 0);
      });
    },
  };
}

/** Two agents in this process, a guest that writes all of its memory, and one migration of it. */
async function migrateForgetfully(t: { teardown(callback: () => Promise<void>): void }, verify: VerifyMode) {
  const directory = await mkdtemp(join(tmpdir(), 'vmferry-forgetful-'));
  const memoryDirectory = await mkdtemp('/dev/shm/vmferry-forgetful-');
  const agents: Agent[] = [];
  t.teardown(async () => {
    for (const agent of agents) await agent.close();
    // QEMU outlives its agent.
    for (const pid of qemuProcesses(memoryDirectory)) process.kill(pid, 'SIGKILL');
    for (const each of [directory, memoryDirectory]) await rm(each, { recursive: true, force: true });
  });
  const logger = pino({ level: 'silent' });
  const start = async (node: string, peers: Record<string, string>) => {
    const stateDirectory = join(directory, node);
    const config = AgentConfigSchema.parse({
      ...{
        node,
        peers,
        stateDirectory,
        listen: '127.0.0.1:0',
        qemu: { memoryDirectory, allow: ALLOW_ALL_FILES },
      },
    });
    const qemu = forgetful(qemuKind(config, logger));
    const agent = await Agent.start(config, logger, { embedded: embeddedKind, qemu });
    agents.push(agent);
    return agent;
  };
  const { service: target, url } = await start('b', {});
  const { service: source } = await start('a', { b: url });
  const image = join(directory, 'walker.img');
  await buildPageWalker(image, { memoryBytes: 16 * MIB });
  const disks = [{ file: image, readonly: true }];
  const definition = { name: 'walker', kind: 'qemu', memory: 16 * MIB, accel: 'tcg', disks };
  await source.defineGuest(GuestDefinitionSchema.parse(definition), undefined);
  await source.startGuest('walker');
  await printed(source, /pass \w+\n/);
  const { id } = await source.startMigration({ vm: 'walker', to: 'b', options: { verify } });
  const result = await ended(source, id);
  // What failed is cleared away at the target a moment later.
  while (target.queue().length > 0) await setImmediate();
  return { source, target, result };
}

async function printed(service: AgentService, text: RegExp): Promise<void> {
  const leave = new AbortController();
  let all = '';
  for await (const chunk of service.console('walker', 0, true, leave.signal)) {
    all += chunk.text;
    if (text.test(all)) break;
  }
  leave.abort();
}

async function ended(service: AgentService, id: string): Promise<MigrationResult> {
  for await (const event of service.migrationEvents(id, 0, new AbortController().signal)) {
    if (event.event === 'ended') return event.result;
  }
  throw new Error('the events ended without a result');
}

const statuses = (service: AgentService) => service.guests().map(({ status }) => status);

await t.test('verified strictly: the guest stays where it is', async (t) => {
  const { source, target, result } = await migrateForgetfully(t, 'strict');
  t.match(result, { outcome: 'failed', error: { code: 'verify-mismatch' }, verify: { mismatches: 1 } });
  t.match(result.error?.message, new RegExp(`page ${FORGOTTEN_PAGE}`));
  t.same([statuses(source), statuses(target)], [['running'], []]);
});

await t.test('verified after the move: the result says what is wrong', async (t) => {
  const { source, target, result } = await migrateForgetfully(t, 'after');
  t.match(result, { outcome: 'completed', error: { code: 'verify-mismatch' }, verify: { mismatches: 1 } });
  t.same([statuses(source), statuses(target)], [[], ['running']]);
});

await t.test('not verified: nobody can know', async (t) => {
  const { result } = await migrateForgetfully(t, 'off');
  t.match(result, { outcome: 'completed', error: null, verify: { pagesChecked: 0 } });
});
