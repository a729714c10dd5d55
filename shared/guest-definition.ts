import { z } from 'zod';
import { NameSchema } from './names.js';
import { PAGE_SIZE } from './page.js';
import { parsedText } from './quantity.js';
import { parseBytes } from './units.js';

const MIB = 2 ** 20;

/** Bytes as a number or as text with a unit ('64MiB'). */
const BytesSchema = z.union([z.number().int(), parsedText(parseBytes)]);

/** Parameters of a program: none has nearly as many. */
const MAX_PARAMETERS = 16;

/** Programs that come with the embedded machine; 'image': an ELF executable that comes with the definition. */
export const EMBEDDED_PROGRAMS = ['idle', 'ticker', 'dirty', 'checksum', 'image'] as const;

export const EmbeddedDefinitionSchema = z.strictObject({
  name: NameSchema,
  kind: z.literal('embedded'),
  memory: BytesSchema.pipe(
    z
      .number()
      .min(MIB, 'must be at least 1 MiB')
      .max(2048 * MIB, 'must be at most 2 GiB')
      .multipleOf(PAGE_SIZE, `must be a multiple of ${PAGE_SIZE} bytes`),
  ).describe('Bytes of RAM: 1 MiB to 2 GiB, whole pages.'),
  program: z.enum(EMBEDDED_PROGRAMS),
  parameters: z
    .record(
      z.string().max(32, 'a name of a parameter has at most 32 characters'),
      z.number().int().min(0).max(0xffffffff),
    )
    .refine((given) => Object.keys(given).length <= MAX_PARAMETERS, `must be at most ${MAX_PARAMETERS}`)
    .describe('Parameters of the program, by name; each program documents its own, with units and defaults.')
    .default({}),
  stopAtInstruction: z
    .number()
    .int()
    .positive()
    .describe('Stop (pause) once this many instructions have retired; for reproducible tests.')
    .optional(),
});

/** Text that becomes a part of a command line: no control characters, bounded. */
const ArgumentSchema = z
  .string()
  .min(1)
  .max(4096)
  // eslint-disable-next-line no-control-regex -- these are what must not be there
  .regex(/^[^\u0000-\u001f\u007f]*$/, 'must not have control characters');
/** A name that QEMU knows: machine type, CPU model with its features, device model. */
const ModelSchema = z
  .string()
  .min(1)
  .max(512)
  .regex(/^[A-Za-z0-9][A-Za-z0-9.,_=+:-]*$/, "must be a name that QEMU knows, e.g. 'q35'");
const FileSchema = ArgumentSchema.regex(/^\//, 'must be an absolute path: it is opened on other nodes too');

/** Largest memory of a guest that runs in QEMU. bytes */
const MAX_QEMU_MEMORY = 2 ** 40;
/** Most virtual processors of one. */
export const MAX_CPUS = 1024;
const QemuMemorySchema = BytesSchema.pipe(
  z
    .number()
    .min(MIB, 'must be at least 1 MiB')
    .max(MAX_QEMU_MEMORY, 'must be at most 1 TiB')
    .multipleOf(MIB, 'must be whole MiB'),
);

const MemoryObjectSchema = z.strictObject({
  size: QemuMemorySchema.describe('bytes'),
  hugepages: BytesSchema.pipe(z.union([z.literal(2 * MIB), z.literal(1024 * MIB)]))
    .describe("Size of the huge pages that back it, in bytes: '2MiB' or '1GiB'; small pages if absent.")
    .optional(),
});

const DiskSchema = z.strictObject({
  file: FileSchema.describe(
    'Path of an image or a block device, the same on every node that the VM may run on.',
  ),
  format: z.enum(['raw', 'qcow2']).default('raw'),
  interface: z.enum(['virtio', 'scsi', 'ide']).default('virtio'),
  cache: z
    .enum(['writeback', 'writethrough', 'none', 'directsync', 'unsafe'])
    .describe("As QEMU's cache modes. Those with O_DIRECT ('none', 'directsync') need the write-log 'hash'.")
    .default('writeback'),
  readonly: z.boolean().default(false),
  serial: z
    .string()
    .regex(/^[A-Za-z0-9_.-]{1,20}$/, "must be 1 to 20 letters, digits, '_', '.', '-'")
    .describe('Serial number that the guest sees.')
    .optional(),
});

const NicSchema = z.strictObject({
  tap: z
    .string()
    .regex(/^[A-Za-z0-9_.-]{1,15}$/, 'must be the name of a network interface')
    .describe('Name of a tap device that exists on every node that the VM may run on.'),
  mac: z.string().regex(/^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$/, "must be like '52:54:00:12:34:56'"),
  model: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, "must be a device that QEMU knows, e.g. 'virtio-net-pci'")
    .default('virtio-net-pci'),
});

export const QemuDefinitionSchema = z
  .strictObject({
    name: NameSchema,
    kind: z.literal('qemu'),
    memory: QemuMemorySchema.describe('Bytes of RAM, all memory objects together.'),
    memoryObjects: z
      .array(MemoryObjectSchema)
      .min(1)
      .max(16)
      .describe('How the RAM is split, one NUMA node each; one object with small pages if absent.')
      .optional(),
    cpus: z.number().int().min(1).max(MAX_CPUS).default(1),
    machine: ModelSchema.describe(
      "Machine type; one with a version ('pc-q35-7.2') moves between versions of QEMU.",
    ).default('q35'),
    cpu: ModelSchema.describe(
      "CPU model and features as QEMU names them; QEMU's default if absent.",
    ).optional(),
    accel: z.enum(['auto', 'kvm', 'tcg']).describe("'auto': kvm where it works, else tcg.").default('auto'),
    serial: z
      .boolean()
      .describe("Whether the machine has the serial port that is the VM's console.")
      .default(true),
    boot: z
      .strictObject({ kernel: FileSchema, initrd: FileSchema.optional(), append: ArgumentSchema.optional() })
      .describe('Boots this kernel; otherwise the firmware boots from a disk.')
      .optional(),
    disks: z.array(DiskSchema).max(64).default([]),
    nics: z.array(NicSchema).max(16).default([]),
    arguments: z.array(ArgumentSchema).max(256).describe('More arguments for QEMU, as they are.').default([]),
  })
  .refine(
    ({ memory, memoryObjects }) =>
      !memoryObjects || memoryObjects.reduce((sum, { size }) => sum + size, 0) === memory,
    { path: ['memoryObjects'], message: 'the sizes must add up to memory' },
  )
  .refine(
    ({ memoryObjects = [] }) => memoryObjects.every(({ size, hugepages = 1 }) => size % hugepages === 0),
    {
      path: ['memoryObjects'],
      message: 'each size must be whole huge pages',
    },
  );

export const GuestDefinitionSchema = z
  .discriminatedUnion('kind', [EmbeddedDefinitionSchema, QemuDefinitionSchema])
  .meta({ id: 'GuestDefinition', description: 'A VM as its owner defines it.' });

export const GuestKindSchema = z.enum(GuestDefinitionSchema.options.map(({ shape }) => shape.kind.value));

export type EmbeddedDefinition = z.output<typeof EmbeddedDefinitionSchema>;
export type QemuDefinition = z.output<typeof QemuDefinitionSchema>;
export type GuestDefinition = z.output<typeof GuestDefinitionSchema>;

/** Largest program image (ELF file) that a definition may bring, in bytes; bounds what a peer can make us hold. */
export const MAX_IMAGE_BYTES = 16 * MIB;
