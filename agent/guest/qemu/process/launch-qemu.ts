import { stat } from 'node:fs/promises';
import { MigrationError } from '../../../../shared/errors.js';
import { delay, systemTimers } from '../../../../shared/timers.js';
import { QmpConnection } from '../qmp/qmp-connection.js';
import { QmpConnectionError } from '../qmp/qmp-errors.js';
import { QemuControl } from '../qemu-control.js';
import { qemuArguments } from './command-line.js';
import type { GuestRecord } from './guest-record.js';
import { QemuProcess } from './qemu-process.js';
import { createRamFiles, type RamFile, removeRamFiles } from './ram-files.js';
import { clearRemains } from './remains.js';
import type { RunDirectory } from './run-directory.js';

/** For a QEMU that starts to answer: it makes its socket first, and reads kernel and disks before it greets. ms */
const START_MS = 30_000;
/** Between two tries to connect to it. ms */
const TRY_MS = 3;

/** A QEMU that has just been started, or was found, and answers. */
export interface StartedQemu {
  readonly record: GuestRecord;
  readonly control: QemuControl;
}

/** Everything that the QEMU of a guest finds when it starts: its run directory, its record and its RAM files. */
export interface PreparedQemu {
  readonly directory: RunDirectory;
  readonly record: GuestRecord;
}

/**
 * Makes what the QEMU of a guest is to be started in. The record is there before anything else, so that an agent after this
 * one can clear away whatever is left. Throws guest-failed or target-out-of-memory; nothing is left then.
 */
export async function prepareQemu(
  directory: RunDirectory,
  outline: Omit<GuestRecord, 'process' | 'ramFiles' | 'qmpSocket' | 'version'>,
  ramFiles: readonly RamFile[],
): Promise<PreparedQemu> {
  const paths = ramFiles.map(({ path }) => path);
  const record: GuestRecord = {
    ...outline,
    version: 1,
    process: null,
    ramFiles: paths,
    qmpSocket: directory.qmpSocket,
  };
  await clearRemains(directory, outline.node);
  await directory.create();
  try {
    directory.write(record);
    await createRamFiles(ramFiles);
    return { directory, record };
  } catch (error) {
    await removePrepared({ directory, record });
    throw error;
  }
}

/** Removes what prepareQemu() made, where no QEMU came of it. */
export async function removePrepared({ directory, record }: PreparedQemu): Promise<void> {
  await removeRamFiles(record.ramFiles);
  await directory.remove();
}

export interface LaunchOptions {
  readonly binary: string;
  /** Where systemd starts it in a unit of its own; undefined: as a child. */
  readonly unitSocket?: string | undefined;
  /** Whether system calls that no guest needs are denied to it. */
  readonly sandbox: boolean;
}

/** Starts a QEMU that was prepared, as a child or in a unit. Throws guest-failed, with what QEMU said; nothing is left then. */
export async function launchQemu(
  prepared: PreparedQemu,
  { binary, unitSocket, sandbox }: LaunchOptions,
): Promise<StartedQemu> {
  const { directory } = prepared;
  const { definition, accel, ramFiles, incoming } = prepared.record;
  let process: QemuProcess | null = null;
  try {
    const parameters = qemuArguments({
      definition,
      accel,
      ramFiles,
      qmpSocket: directory.qmpSocket,
      consoleSocket: directory.consoleSocket,
      consoleLog: directory.consoleLog,
      blockDevices: await blockDevicesAmong(definition.disks.map(({ file }) => file)),
      sandbox,
      incoming: incoming !== null,
    });
    process = await (unitSocket === undefined
      ? QemuProcess.start(binary, parameters, directory.qemuLog)
      : QemuProcess.startInUnit(unitSocket, binary, parameters, directory.qemuLog));
    const record = { ...prepared.record, process: process.identity };
    directory.write(record);
    const control = await connectQemu(definition.name, directory, process, directory.qmpSocket, START_MS);
    return { record, control };
  } catch (error) {
    await process?.terminate();
    await removePrepared(prepared);
    throw error;
  }
}

/** Connects to a QEMU that starts or runs, within `ms`. Throws guest-failed, with what QEMU said where it has ended. */
export async function connectQemu(
  vm: string,
  directory: RunDirectory,
  process: QemuProcess,
  qmpSocket: string,
  ms: number,
): Promise<QemuControl> {
  const deadline = systemTimers.now() + ms;
  for (;;) {
    try {
      const timeoutMs = Math.max(1, Math.round(deadline - systemTimers.now()));
      const qmp = await QmpConnection.connect(qmpSocket, { timeoutMs });
      return new QemuControl(vm, directory, process, qmp);
    } catch (error) {
      const absent = error instanceof QmpConnectionError && error.end !== 'silent';
      if (!absent || systemTimers.now() >= deadline) throw error;
      if (!process.alive) throw await failureToStart(vm, directory, process, error);
    }
    await Promise.race([process.ended, delay(systemTimers, TRY_MS)]);
  }
}

async function failureToStart(
  vm: string,
  directory: RunDirectory,
  process: QemuProcess,
  cause: unknown,
): Promise<MigrationError> {
  await process.watch(0);
  const words = directory.lastWords() || 'it said nothing';
  // QEMU does not know the option where it is built without seccomp, or under a filter that denies seccomp(2).
  const remedy = words.includes("option group 'sandbox'")
    ? "; this QEMU can't be in a sandbox: set 'qemu.sandbox' to false, or see that seccomp(2) is allowed to it"
    : '';
  const text = `QEMU of VM ${vm} ${await process.ended} before it was ready: ${words}${remedy}`;
  return new MigrationError('guest-failed', text, { cause });
}

/** Disks that are devices: QEMU opens those with another driver. One that is missing is QEMU's to complain about. */
async function blockDevicesAmong(files: readonly string[]): Promise<Set<string>> {
  const found = new Set<string>();
  for (const file of files) {
    const info = await stat(file).catch(() => null);
    if (info?.isBlockDevice()) found.add(file);
  }
  return found;
}
