import { z } from 'zod';
import { NameSchema } from './names.js';
import { PreflightFindingSchema } from './protocol/messages.js';

/** What agents tell `vmferry doctor`. Its command line checks all of it: in an upgrade, agents of several versions answer. */

const Count = z.number().int().min(0);

/** What is compared between nodes. */
export const NodeFactsSchema = z.object({
  version: z.string(),
  protocol: z.object({ min: Count, max: Count }),
  nodejs: z.string(),
  /** Release of the kernel. */
  kernel: z.string(),
  drained: z.boolean(),
  /** Most memory of guests, and what of it is taken. */
  memoryLimitBytes: Count,
  memoryUsedBytes: Count,
  /** Null where there is none, or none that works. */
  qemu: z.object({ version: z.string(), machines: z.array(z.string()) }).nullable(),
  /** When the certificate of the node is over, ISO 8601; null without TLS. */
  certificateExpiresAt: z.iso.datetime().nullable(),
});
export type NodeFacts = z.output<typeof NodeFactsSchema>;

/** What a node finds of itself: GET /v1/doctor. */
export const DoctorReportSchema = z.object({
  node: NameSchema,
  /** True if no finding is a refusal. */
  ok: z.boolean(),
  findings: z.array(PreflightFindingSchema),
  facts: NodeFactsSchema,
});
export type DoctorReport = z.output<typeof DoctorReportSchema>;

/** The way from a node to a peer, as a connection of its own showed it. */
export const PeerPathSchema = z.object({
  localAddress: z.string(),
  /** Of this node, by which the connection goes; null where that can't be told. */
  interface: z.string().nullable(),
  /** Longest packet that the interface sends. bytes */
  interfaceMtu: Count.nullable(),
  /** As its driver tells it: virtual interfaces tell none. bits/s */
  interfaceSpeed: z.number().positive().nullable(),
  /** Longest packet that the kernel knows to get through: it learns of less when a router says so. bytes */
  pathMtu: Count.nullable(),
  /** The shortest that TCP has seen, agents and their work not counted. ms */
  roundTripMs: z.number().min(0).nullable(),
  /** Whether packets as long as the path is said to take got there and were answered. */
  largePackets: z.enum(['pass', 'lost']),
});
export type PeerPath = z.output<typeof PeerPathSchema>;

/** What a node finds of one of its peers. */
export const PeerReportSchema = z.object({
  node: NameSchema,
  url: z.string(),
  /** What a migration there would fail with; null where both have agreed on a version. */
  error: z.object({ code: z.string(), message: z.string() }).nullable(),
  protocol: Count.nullable(),
  /** Null where it could not be connected to. */
  path: PeerPathSchema.nullable(),
  /** When the certificate that it showed is over, ISO 8601. */
  certificateExpiresAt: z.iso.datetime().nullable(),
});
export type PeerReport = z.output<typeof PeerReportSchema>;

/** GET /v1/doctor/peers: all that the node has in its configuration. */
export const PeerReportsSchema = z.object({ node: NameSchema, peers: z.array(PeerReportSchema) });
export type PeerReports = z.output<typeof PeerReportsSchema>;
