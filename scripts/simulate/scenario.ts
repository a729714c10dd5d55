import { z } from 'zod';
import { BandwidthSchema, MigrationOptionsSchema, OnLimitSchema } from '../../shared/api.js';
import { quantity } from '../../shared/quantity.js';
import { PAGE_SIZE } from '../../shared/page.js';
import { formatBytes, parseBytes, parseDuration, parseRate } from '../../shared/units.js';

/** Bounds what one run takes: a few GB of memory. */
export const MAX_NODES = 10_000;
const MAX_GUESTS_PER_NODE = 1000;
const MAX_GUESTS = 1_000_000;

const TIB = 2 ** 40;

const count = (least: number, most: number) => z.number().int().min(least).max(most);
const size = quantity('bytes', parseBytes, PAGE_SIZE, 1024 * TIB);
const rate = quantity('bytes/s', parseRate, 0, 1e15);
const duration = quantity('ms', parseDuration, 0, 86_400_000);

/** One size, or those between two, drawn evenly by their logarithm. bytes */
const SizeRangeSchema = z.union([
  size.transform((bytes) => ({ from: bytes, to: bytes })),
  z
    .strictObject({ from: size, to: size })
    .refine(({ from, to }) => from <= to, { path: ['to'], message: "it must be no less than 'from'" }),
]);
export type SizeRange = z.output<typeof SizeRangeSchema>;

const WorkingSetSchema = z.strictObject({
  /** Pages that are written again and again. bytes */
  set: size,
  /** How fast, pages that are written again included. bytes/s */
  rate,
  /** No page again before all the others, or whichever. */
  order: z.enum(['in-turn', 'random']).default('random'),
});

const GuestKindSchema = z
  .strictObject({
    /** How many of all guests are of this kind, to the shares of the others. */
    share: z.number().positive().max(1e6).default(1),
    memory: SizeRangeSchema,
    /** The part of the memory that is in use, and is sent in round 0. */
    populated: z.number().positive().max(1).default(1),
    /** Its working sets, which have no page in common. */
    writes: z.array(WorkingSetSchema).max(16).default([]),
  })
  .superRefine(({ memory, populated, writes }, context) => {
    const sets = writes.reduce((sum, { set }) => sum + set, 0);
    const least = memory.from * populated;
    if (sets <= least) return;
    const room = `the least of these guests has ${formatBytes(least)} in use`;
    context.addIssue({
      code: 'custom',
      path: ['writes'],
      message: `the sets add up to ${formatBytes(sets)}, and must fit into memory: ${room}`,
    });
  });

const NodeGroupSchema = z.strictObject({
  count: count(1, MAX_NODES),
  /** Of its network card, in each direction, as iperf3 would measure it. bytes/s */
  link: quantity('bytes/s', parseRate, 1e4, 1e15),
  /** Guests on each of these nodes at first. */
  guests: count(0, MAX_GUESTS_PER_NODE),
});

const MovesSchema = z.discriminatedUnion('kind', [
  /** All guests leave the first so many nodes, which begin at once. */
  z.strictObject({ kind: z.literal('drain'), nodes: count(1, MAX_NODES) }),
  /** So many nodes at a time are emptied, until all have been; those before are back then. */
  z.strictObject({ kind: z.literal('rolling'), batch: count(1, MAX_NODES).default(1) }),
  /** So many guests, drawn at random, each to a node drawn at random. */
  z.strictObject({ kind: z.literal('pairs'), count: count(1, MAX_GUESTS) }),
]);

/**
 * As measured with QEMU guests under TCG between two agents on one idle machine of two processors (see OPERATIONS.md); `release`
 * is an estimate.
 */
export const QEMU_OVERHEADS = { prepare: 140, round: 2, pause: 10, saving: 12, switchover: 11, release: 60 };
/** Of the built-in machine: estimates. */
export const EMBEDDED_OVERHEADS = { prepare: 60, round: 2, pause: 2, saving: 4, switchover: 9, release: 40 };

const OverheadsSchema = z.strictObject({
  prepare: duration.default(QEMU_OVERHEADS.prepare),
  round: duration.default(QEMU_OVERHEADS.round),
  pause: duration.default(QEMU_OVERHEADS.pause),
  saving: duration.default(QEMU_OVERHEADS.saving),
  switchover: duration.default(QEMU_OVERHEADS.switchover),
  release: duration.default(QEMU_OVERHEADS.release),
});

const option = MigrationOptionsSchema.shape;

/** Rules of all migrations, with the names and the defaults of an agent's configuration. */
const MigrationSchema = z.strictObject({
  maxDowntime: duration.default(MigrationOptionsSchema.parse({}).maxDowntimeMs),
  /** bytes/s; 0: no limit */
  bandwidth: quantity('bytes/s', parseRate).pipe(BandwidthSchema).default(0),
  onLimit: OnLimitSchema.default('switch-over'),
  maxRounds: option.maxRounds,
  maxTime: quantity('ms', parseDuration, 1, 86_400_000).default(MigrationOptionsSchema.parse({}).maxTotalMs),
  stallRounds: option.stallRounds,
});

/** What is simulated, as in its YAML file. */
export const ScenarioSchema = z
  .strictObject({
    seed: z
      .number()
      .int()
      .min(0)
      .max(2 ** 31 - 1)
      .default(1),
    nodes: z.array(NodeGroupSchema).min(1).max(1000),
    guests: z.array(GuestKindSchema).min(1).max(1000),
    moves: MovesSchema,
    /** How many migrations at once per node are compared with one at a time per pair. */
    atOnce: z.array(count(1, 1000)).max(16).default([2, 4, 8]),
    migration: MigrationSchema.prefault({}),
    overheads: OverheadsSchema.prefault({}),
  })
  .superRefine(({ nodes, moves }, context) => {
    const refuse = (path: string[], message: string) => context.addIssue({ code: 'custom', path, message });
    const all = nodes.reduce((sum, group) => sum + group.count, 0);
    const guests = nodes.reduce((sum, group) => sum + group.count * group.guests, 0);
    if (all > MAX_NODES) refuse(['nodes'], `there must be at most ${MAX_NODES} nodes, and there are ${all}`);
    if (all < 2) refuse(['nodes'], 'there must be at least 2 nodes: nothing could move');
    if (guests > MAX_GUESTS) {
      refuse(['nodes'], `there must be at most ${MAX_GUESTS} guests, and there are ${guests}`);
    }
    if (moves.kind === 'drain' && moves.nodes >= all) {
      refuse(
        ['moves', 'nodes'],
        `it must be below the number of nodes, ${all}: the guests have to go somewhere`,
      );
    }
    if (moves.kind === 'rolling' && moves.batch >= all) {
      refuse(
        ['moves', 'batch'],
        `it must be below the number of nodes, ${all}: the guests have to go somewhere`,
      );
    }
    if (moves.kind === 'pairs' && moves.count > guests) {
      refuse(['moves', 'count'], `it must be at most the number of guests, ${guests}: each moves once`);
    }
  });
export type Scenario = z.output<typeof ScenarioSchema>;
export type ScenarioInput = z.input<typeof ScenarioSchema>;
