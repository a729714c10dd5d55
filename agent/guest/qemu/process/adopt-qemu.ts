import { readFileSync, readlinkSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { MigrationError, toMigrationError } from '../../../../shared/errors.js';
import { readMaps } from '../../../system/process-maps.js';
import { commandLine } from '../../../system/process-status.js';
import { QemuControl } from '../qemu-control.js';
import { QmpConnection } from '../qmp/qmp-connection.js';
import { type ForeignQemu, readCommandLine } from './foreign-command-line.js';
import type { GuestRecord } from './guest-record.js';
import type { StartedQemu } from './launch-qemu.js';
import { identifyProcess } from './process-identity.js';
import { QemuProcess } from './qemu-process.js';
import { refuseRecorded } from './recorded-guests.js';
import { clearRemains } from './remains.js';
import type { RunDirectory } from './run-directory.js';

/** For a QEMU to greet; it does not while it has another client. ms */
const GREETING_MS = 3_000;

/**
 * Takes up a QEMU that somebody else has started and that listens for QMP at `socket`. Throws unsupported-guest, with the
 * reason and a remedy, for one that can't be migrated; nothing has changed then. QEMU itself has not changed in any case.
 */
export async function adoptQemu(
  node: string,
  name: string,
  socket: string,
  directory: RunDirectory,
): Promise<StartedQemu> {
  const qmp = await connect(name, socket);
  try {
    const pid = await processOf(qmp);
    const identity = identifyProcess(pid);
    if (!identity) throw new Error(`its process ${pid} is gone`);
    const foreign = foreignQemu(name, pid);
    const definition = { ...foreign.definition, machine: await machineType(qmp) };
    const { status } = (await qmp.execute('query-status')) as { status: string };
    if (status === 'inmigrate') throw new Error('it waits for a migration: let that end first');
    const ramFiles = foreign.ramFiles.map(({ path }) => path);
    await refuseRecorded(dirname(directory.path), identity, ramFiles);
    const record: GuestRecord = {
      version: 1,
      definition,
      node,
      process: identity,
      wanted: status === 'running' ? 'running' : 'paused',
      incoming: null,
      ramFiles,
      qmpSocket: socket,
      consoleBase: null,
      accel: definition.accel === 'kvm' ? 'kvm' : 'tcg',
    };
    await clearRemains(directory, node);
    await directory.create();
    directory.write(record);
    return { record, control: new QemuControl(name, directory, QemuProcess.found(identity), qmp) };
  } catch (error) {
    qmp.close();
    if (error instanceof MigrationError) throw error;
    throw unsupported(name, toMigrationError(error).message, error);
  }
}

async function connect(name: string, socket: string): Promise<QmpConnection> {
  try {
    return await QmpConnection.connect(socket, { timeoutMs: GREETING_MS });
  } catch (error) {
    throw unsupported(name, toMigrationError(error).message, error);
  }
}

/** The process of a QEMU, by the thread of one of its virtual CPUs: QMP tells no more. */
async function processOf(qmp: QmpConnection): Promise<number> {
  const [cpu] = (await qmp.execute('query-cpus-fast')) as { 'thread-id': number }[];
  const status = readFileSync(`/proc/${cpu?.['thread-id']}/status`, 'latin1');
  return Number(/^Tgid:\s+(\d+)$/m.exec(status)?.[1]);
}

/** The versioned name of its machine type, whatever name it was started with. */
async function machineType(qmp: QmpConnection): Promise<string> {
  const type = (await qmp.execute('qom-get', { path: '/machine', property: 'type' })) as string;
  return type.replace(/-machine$/, '');
}

function foreignQemu(name: string, pid: number): ForeignQemu {
  const [, ...parameters] = commandLine(pid);
  const foreign = readCommandLine(name, parameters, readlinkSync(`/proc/${pid}/cwd`));
  const maps = readMaps(pid);
  for (const { path } of foreign.ramFiles) {
    const info = statSync(path);
    if (maps.some(({ device, inode, shared }) => shared && device === info.dev && inode === info.ino))
      continue;
    throw new Error(
      `${path} is not the file that it has its RAM in: name a file, not a directory, in mem-path`,
    );
  }
  return foreign;
}

function unsupported(name: string, reason: string, cause: unknown): MigrationError {
  const text = `the QEMU that is to become VM ${name} can't be taken up: ${reason}`;
  return new MigrationError('unsupported-guest', text, { cause });
}
