import { z } from 'zod';
import { NameSchema } from '../names.js';
import { PreflightFindingSchema } from '../protocol/messages.js';
import { Count, Ok, Timestamp } from './fields.js';

/** What agents tell `vmferry doctor`. Its command line checks all of it: in an upgrade, agents of several versions answer. */

export const NodeFactsSchema = z
  .object({
    version: z.string(),
    protocol: z.object({ min: Count, max: Count }),
    nodejs: z.string(),
    kernel: z.string().describe('Release of the kernel.'),
    drained: z.boolean(),
    memoryLimitBytes: Count.describe('Most memory of guests.'),
    memoryUsedBytes: Count.describe('What of it is taken.'),
    qemu: z
      .object({ version: z.string(), machines: z.array(z.string()) })
      .nullable()
      .describe('Null where there is none, or none that works.'),
    certificateExpiresAt: Timestamp.nullable().describe(
      'When the certificate of the node is over; null without TLS.',
    ),
  })
  .meta({ id: 'NodeFacts', description: 'What is compared between nodes.' });
export type NodeFacts = z.output<typeof NodeFactsSchema>;

export const DoctorReportSchema = z
  .object({
    node: NameSchema,
    ok: Ok,
    findings: z.array(PreflightFindingSchema),
    facts: NodeFactsSchema,
  })
  .meta({ id: 'Doctor', description: 'How fit a node is, as it finds by itself.' });
export type DoctorReport = z.output<typeof DoctorReportSchema>;

export const PeerPathSchema = z
  .object({
    localAddress: z.string(),
    interface: z
      .string()
      .nullable()
      .describe("The node's interface by which the connection goes; null where that can't be told."),
    interfaceMtu: Count.nullable().describe('Longest packet that the interface sends. bytes'),
    interfaceSpeed: z
      .number()
      .positive()
      .nullable()
      .describe('As its driver tells it: some virtual interfaces tell none. bits/s'),
    pathMtu: Count.nullable().describe(
      'Longest packet that the kernel knows to get through: it learns of less when a router says so. bytes',
    ),
    roundTripMs: z
      .number()
      .min(0)
      .nullable()
      .describe('The shortest that TCP has seen, agents and their work not counted. ms'),
    largePackets: z
      .enum(['pass', 'lost'])
      .describe('Whether packets as long as the path is said to take got there and were answered.'),
  })
  .meta({
    id: 'PeerPath',
    description: 'The way from a node to a peer, as a connection of its own showed it.',
  });
export type PeerPath = z.output<typeof PeerPathSchema>;

export const PeerReportSchema = z
  .object({
    node: NameSchema,
    url: z.string(),
    error: z
      .object({ code: z.string(), message: z.string() })
      .nullable()
      .describe('What a migration there would fail with; null where both have agreed on a version.'),
    protocol: Count.nullable(),
    path: PeerPathSchema.nullable().describe('Null where it could not be connected to.'),
    certificateExpiresAt: Timestamp.nullable().describe('When the certificate that it showed is over.'),
  })
  .meta({ id: 'PeerReport', description: 'What a node finds of one of its peers.' });
export type PeerReport = z.output<typeof PeerReportSchema>;

export const PeerReportsSchema = z
  .object({ node: NameSchema, peers: z.array(PeerReportSchema) })
  .meta({ id: 'PeerReports', description: 'What a node finds of all that it has in its configuration.' });
export type PeerReports = z.output<typeof PeerReportsSchema>;
