import { readdir, readlink, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { QemuDefinition } from '../../../../shared/guest-definition.js';
import { PAGE_SIZE } from '../../../../shared/page.js';
import { readHostCpu } from '../host/cpu-features.js';
import { fileSystemOf } from '../host/host-memory.js';
import type { QmpConnection } from '../qmp/qmp-connection.js';
import { QmpError } from '../qmp/qmp-errors.js';
import { queryQmp } from '../qmp/qmp-query.js';
import { bootId, fileFacts } from './file-facts.js';
import type { BlockNodeFacts, GuestFacts, MemoryFacts, NamedType } from './guest-facts.js';

const KvmSchema = z.object({ enabled: z.boolean() });
const CpusSchema = z.array(z.object({ 'qom-path': z.string() })).min(1);
const MemoriesSchema = z.array(
  z.object({ id: z.string().default(''), size: z.number(), share: z.boolean() }),
);
const BlockNodesSchema = z.array(
  z.object({
    'node-name': z.string().default(''),
    drv: z.string(),
    file: z.string(),
    cache: z.object({ direct: z.boolean() }),
  }),
);
const PropertiesSchema = z.array(z.object({ name: z.string(), type: z.string() }));
const MigrationSchema = z.object({ 'blocked-reasons': z.array(z.string()).default([]) });
const CapabilitiesSchema = z.array(z.object({ capability: z.string() }));
const WordsSchema = z.array(z.string());

/** What QEMU's own accelerators may have open: /dev/vfio/12, /dev/vhost-net, /dev/vhost-vsock. */
const WATCHED_DEVICE = /^\/dev\/(?:vfio\/|vhost-)/;

/**
 * Asks a running QEMU (`pid`) and its host about a guest; changes nothing. `foreignMappings` are the processes beside QEMU
 * and the agent that have its memory mapped. Rejects as QMP commands do.
 */
export async function gatherGuestFacts(
  qmp: QmpConnection,
  pid: number,
  definition: QemuDefinition,
  foreignMappings: GuestFacts['foreignMappings'],
): Promise<GuestFacts> {
  const [cpu] = await queryQmp(qmp, CpusSchema, 'query-cpus-fast');
  const cpuPath = cpu?.['qom-path'] ?? '';
  const { enabled } = await queryQmp(qmp, KvmSchema, 'query-kvm');
  const migration = await queryQmp(qmp, MigrationSchema, 'query-migrate');
  const capabilities = await queryQmp(qmp, CapabilitiesSchema, 'query-migrate-capabilities');
  return {
    definition,
    version: qmp.version,
    machine: (await property(qmp, z.string(), '/machine', 'type')).replace(/-machine$/, ''),
    accel: enabled ? 'kvm' : 'tcg',
    cpuModel: (await property(qmp, z.string(), cpuPath, 'type')).replace(/-x86_64-cpu$/, ''),
    cpuLacks: await property(qmp, WordsSchema, cpuPath, 'unavailable-features'),
    memory: await memories(qmp),
    blockNodes: await blockNodes(qmp),
    devices: [
      ...(await children(qmp, '/machine/peripheral')),
      ...(await children(qmp, '/machine/peripheral-anon')),
    ],
    netdevs: await netdevs(qmp),
    openDevices: await openDevices(pid),
    blockedReasons: migration['blocked-reasons'],
    migrationCapabilities: new Set(capabilities.map(({ capability }) => capability)),
    foreignMappings,
    hostCpu: await readHostCpu(),
    ...(await fileFacts(definition)),
    bootId: await bootId(),
  };
}

function property<Schema extends z.ZodType>(
  qmp: QmpConnection,
  schema: Schema,
  path: string,
  name: string,
): Promise<z.output<Schema>> {
  return queryQmp(qmp, schema, 'qom-get', { path, property: name });
}

async function memories(qmp: QmpConnection): Promise<MemoryFacts[]> {
  const found = await queryQmp(qmp, MemoriesSchema, 'query-memdev');
  return await Promise.all(
    found.map(async ({ id, size, share }) => {
      const file = await memoryFile(qmp, id);
      return { id, bytes: size, shared: share, file, pageBytes: await pageBytes(file) };
    }),
  );
}

/** Only an object of type memory-backend-file has such a property. */
async function memoryFile(qmp: QmpConnection, id: string): Promise<string | null> {
  try {
    return await property(qmp, z.string(), `/objects/${id}`, 'mem-path');
  } catch (error) {
    if (error instanceof QmpError) return null;
    throw error;
  }
}

async function pageBytes(file: string | null): Promise<number> {
  if (file === null) return PAGE_SIZE;
  try {
    // hugetlbfs tells the size of its pages as its block size
    return (await fileSystemOf(file)).type === 'hugetlbfs' ? (await statfs(file)).bsize : PAGE_SIZE;
  } catch {
    // QEMU removes a file that it made in a directory: nothing to look at
    return PAGE_SIZE;
  }
}

async function blockNodes(qmp: QmpConnection): Promise<BlockNodeFacts[]> {
  const nodes = await queryQmp(qmp, BlockNodesSchema, 'query-named-block-nodes', { flat: true });
  return nodes.map(({ drv, file, cache, 'node-name': name }) => ({
    name,
    driver: drv,
    file,
    direct: cache.direct,
  }));
}

/** Objects within one of QEMU's object tree; a property of type 'child<T>' is one of type T. */
async function children(qmp: QmpConnection, path: string): Promise<NamedType[]> {
  const properties = await queryQmp(qmp, PropertiesSchema, 'qom-list', { path });
  const found = properties.flatMap(({ name, type }) => {
    const child = /^child<(.*)>$/.exec(type)?.[1];
    return child === undefined ? [] : [{ name, type: child }];
  });
  // QEMU's order is that of a hash table.
  return found.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** QMP has no command that lists them; the human monitor's lines are 'NAME: index=N,type=TYPE,...'. */
async function netdevs(qmp: QmpConnection): Promise<NamedType[]> {
  const parameters = { 'command-line': 'info network' };
  const text = await queryQmp(qmp, z.string(), 'human-monitor-command', parameters);
  return [...text.matchAll(/(\S+): index=\d+,type=([\w-]+)/g)].flatMap(([, name = '', type = '']) =>
    type === 'nic' ? [] : [{ name, type }],
  );
}

async function openDevices(pid: number): Promise<string[]> {
  const directory = `/proc/${pid}/fd`;
  const links = (await readdir(directory)).map((name) => readlink(join(directory, name)).catch(() => ''));
  return [...new Set(await Promise.all(links))].filter((path) => WATCHED_DEVICE.test(path)).sort();
}
