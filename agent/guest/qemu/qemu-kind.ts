import type { Logger } from 'pino';
import type { AgentConfig } from '../../../shared/config.js';
import { MigrationError, refusalError } from '../../../shared/errors.js';
import type { QemuDefinition } from '../../../shared/guest-definition.js';
import type { GuestKind } from '../hosted-guest.js';
import { removeLostProbeDirectories } from './host/probe-directory.js';
import { checkFiles } from './check-files.js';
import { QemuHostProbe } from './host/qemu-host.js';
import { awaitState } from './loading-state.js';
import { openGuest, openMemory, reopenGuest } from './open-guest.js';
import { pinDefinition } from './pin-definition.js';
import { checkPolicy } from './policy/check-policy.js';
import { comparedFacts, doctorHost } from './preflight/doctor.js';
import { toPreflightFindings } from './preflight/findings.js';
import { gatherTargetFacts } from './preflight/gather-target-facts.js';
import { checkTarget } from './preflight/target-rules.js';
import { adoptQemu } from './process/adopt-qemu.js';
import { removeLostRamFiles } from './process/lost-ram-files.js';
import {
  launchQemu,
  type PreparedQemu,
  prepareQemu,
  removePrepared,
  type StartedQemu,
} from './process/launch-qemu.js';
import { planRamFiles } from './process/ram-files.js';
import { removeRemains } from './process/remains.js';
import { RunDirectory, runDirectoryOf } from './process/run-directory.js';
import type { QemuGuest } from './qemu-guest.js';
import { memoryLayout, type QemuMemory } from './qemu-memory.js';
import { preflightSource, writeLogOfHost } from './qemu-preflight.js';
import { findSurvivors } from './qemu-survivors.js';

/** Arguments that would take a guest out of the agent's hands, or tie it to this host. */
const REFUSED_ARGUMENTS = ['daemonize', 'incoming', 'preconfig', 'loadvm', 'snapshot'];

/** Guests on an unmodified QEMU. */
export function qemuKind(config: AgentConfig, logger: Logger): GuestKind<QemuDefinition> {
  const { node, qemu } = config;
  const runDirectory = runDirectoryOf(config);
  const loggerOf = (vm: string) => logger.child({ vm });

  const probe = new QemuHostProbe(qemu.binary);

  /** Everything but the process. */
  async function prepare(definition: QemuDefinition, migration: string | null): Promise<Prepared> {
    const { name } = definition;
    checkArguments(definition);
    const { binary, ...host } = await probe.host();
    const { accel, reason, definition: pinned } = pinDefinition(definition, host);
    loggerOf(name).info({ accel, machine: pinned.machine, reason }, 'starting QEMU');
    const qemu = await prepareQemu(
      new RunDirectory(runDirectory, name),
      {
        definition: pinned,
        node,
        wanted: 'paused',
        incoming: migration,
        consoleBase: definition.serial ? 0 : null,
        accel,
      },
      await planRamFiles(pinned, node, config.qemu.memoryDirectory),
    );
    try {
      return { binary, qemu, memory: openMemory(qemu.record) };
    } catch (error) {
      await removePrepared(qemu);
      throw error;
    }
  }

  /** The process, and the guest that comes of it. Where that fails nothing is left. */
  async function start({ binary, qemu: prepared, memory }: Prepared): Promise<QemuGuest> {
    const { directory, record } = prepared;
    try {
      const started = await launchQemu(prepared, { ...qemu, binary });
      try {
        if (record.incoming !== null) await awaitState(started.control, directory.stateSocket);
        const logger = loggerOf(record.definition.name);
        const guest = await openGuest(directory, started, memory, qemu.writeLog, logger);
        logger.info({ pid: guest.pid, incoming: record.incoming }, 'QEMU has started');
        return guest;
      } catch (error) {
        await discard(directory, started);
        throw error;
      }
    } catch (error) {
      memory.release();
      throw error;
    }
  }

  return {
    async check(definition, image) {
      if (image) {
        const text = `VM ${definition.name} runs in QEMU and a program image came with it: name a kernel or a disk in its definition`;
        throw new MigrationError('invalid-definition', text);
      }
      checkArguments(definition);
      await checkFiles(definition);
    },
    boot: async (definition) => await start(await prepare(definition, null)),
    async incoming(definition, migration) {
      // Again, whatever preflight has said: from here on QEMU acts on it.
      const [refused] = toPreflightFindings(await checkPolicy(definition, qemu.allow));
      if (refused) throw refusalError(refused);
      const prepared = await prepare(definition, migration);
      // What comes while QEMU starts stays: one that waits for a migration loads nothing into its RAM (rom_reset() in its
      // hw/core/loader.c).
      const machine = start(prepared);
      return {
        regions: prepared.memory.regions,
        machine,
        destroy: () =>
          machine.then(
            (guest) => guest.destroy(),
            () => undefined,
          ),
      };
    },
    regions: memoryLayout,
    preflightSource: (guest) => preflightSource(guest as QemuGuest),
    async preflightTarget(definition, traits) {
      // What is refused is not looked at: findings about it would tell the peer of files that are none of its business.
      const refused = await checkPolicy(definition, qemu.allow);
      if (refused.length > 0) return toPreflightFindings(refused);
      const facts = await gatherTargetFacts(definition, probe, qemu.memoryDirectory);
      return toPreflightFindings(checkTarget(definition, traits, facts));
    },
    async doctor() {
      const { memoryDirectory } = qemu;
      const writeLog = writeLogOfHost(qemu.writeLog);
      const { guestMemory } = config;
      const { findings, qemu: host } = await doctorHost({
        ...{ probe, memoryDirectory, runDirectory, writeLog, guestMemory },
      });
      return { findings: toPreflightFindings(findings), qemu: host && comparedFacts(host) };
    },
    async survivors(definitionOf) {
      const survivors = await findSurvivors({
        ...{ node, runDirectory, logger, definitionOf },
        takeUp: (directory, record) =>
          reopenGuest(directory, record, qemu.writeLog, loggerOf(record.definition.name)),
      });
      try {
        const removed = await removeLostRamFiles(node, qemu.memoryDirectory);
        if (removed.length > 0) logger.warn({ removed }, 'RAM files of agents that are no more are removed');
        await removeLostProbeDirectories();
      } catch (error) {
        logger.warn({ err: error }, 'what agents have left that are no more could not be removed');
      }
      return survivors;
    },
    async adopt(name, socket) {
      const directory = new RunDirectory(runDirectory, name);
      const started = await adoptQemu(node, name, socket, directory);
      let guest: QemuGuest | null = null;
      try {
        const memory = openMemory(started.record);
        guest = await openGuest(directory, started, memory, qemu.writeLog, loggerOf(name));
        // One that powers itself off is to stay, as it does where the agent starts it.
        await started.control.execute('set-action', { shutdown: 'pause' });
        return guest;
      } catch (error) {
        await guest?.detach();
        started.control.release();
        await directory.remove();
        throw error;
      }
    },
  };
}

/** A guest whose QEMU can be started. */
interface Prepared {
  readonly binary: string;
  readonly qemu: PreparedQemu;
  readonly memory: QemuMemory;
}

function checkArguments({ name, arguments: parameters }: QemuDefinition): void {
  const refused = parameters.findIndex((text) => REFUSED_ARGUMENTS.includes(text.replace(/^--?/, '')));
  if (refused === -1) return;
  const text = `VM ${name} has the argument ${parameters[refused]}, with which it could not be migrated: leave it out`;
  throw new MigrationError('invalid-definition', text, { field: ['arguments', refused] });
}

async function discard(directory: RunDirectory, { record, control }: StartedQemu): Promise<void> {
  control.release();
  await removeRemains(directory, record);
}
