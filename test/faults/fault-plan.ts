import fc from 'fast-check';
import type { MigrationPhase } from '../../shared/api.js';
import type { SourceMessage, TargetMessage } from '../../shared/protocol/messages.js';
import type { LinkScope } from './link-proxy.js';

/** The end of the migration that a fault is about. */
export type Side = 'source' | 'target';

/** Something that goes wrong; what `forMs` is over is mended: the link, a stopped process goes on, a killed agent is started again. */
export type Fault =
  | { readonly do: 'cut' | 'stall'; readonly scope: LinkScope; readonly forMs: number }
  /** One direction of the connections is closed, the other stays open. */
  | { readonly do: 'half-close'; readonly scope: LinkScope; readonly by: Side }
  | { readonly do: 'delay'; readonly latencyMs: number; readonly forMs: number }
  | { readonly do: 'crawl'; readonly bytesPerSecond: number; readonly forMs: number }
  | { readonly do: 'kill-agent' | 'stop-agent'; readonly side: Side; readonly forMs: number }
  | { readonly do: 'kill-qemu'; readonly side: Side }
  | { readonly do: 'stop-qemu'; readonly side: Side; readonly forMs: number }
  /** The target's agent is gone for good, or hangs: it comes back once its operator has settled the outcome, if it was open. */
  | { readonly do: 'lose-target'; readonly how: 'kill' | 'stop' }
  /** The operator's. */
  | { readonly do: 'cancel' };

/** When it goes wrong. */
export type Moment =
  /** A message of the migration's control connection is about to be delivered, or just was. */
  | { readonly at: 'message'; readonly type: StepMessage; readonly when: 'before' | 'after' }
  /** So many bytes were carried from one side to the other on a control connection, or a page stream. */
  | {
      readonly at: 'byte';
      readonly purpose: 'control' | 'pages';
      readonly sender: Side;
      readonly position: number;
    }
  /** The source's event stream names that phase. */
  | { readonly at: 'phase'; readonly phase: MigrationPhase }
  /** After the fault before it. */
  | { readonly at: 'then'; readonly afterMs: number };

export interface PlannedFault {
  readonly moment: Moment;
  readonly fault: Fault;
}

/** One run: a migration, and what goes wrong. */
export interface Plan {
  readonly seed: number;
  /** The node that the guest starts on, which counts for the order of the locks. */
  readonly from: 'a' | 'b';
  readonly transport: 'auto' | 'websocket';
  readonly verify: 'off' | 'after' | 'strict';
  readonly streams: number;
  readonly faults: readonly PlannedFault[];
}

/** The messages that mark a step, by the phase that they belong to. */
export const STEP_MESSAGES = {
  'lock-request': 'queued',
  'lock-granted': 'queued',
  prepare: 'preparing',
  prepared: 'preparing',
  'round-ack': 'copying',
  finalize: 'switching-over',
  ready: 'switching-over',
  commit: 'committing',
  running: 'committing',
} as const satisfies Partial<Record<(SourceMessage | TargetMessage)['type'], MigrationPhase>>;
export type StepMessage = keyof typeof STEP_MESSAGES;

/** Phases that the event stream of every migration names. */
const PHASES = ['queued', 'preparing', 'copying', 'switching-over', 'committing', 'completing'] as const;

/** Longest that something stays wrong, as a rule. ms */
const LONG_MS = 5_500;

/** Longer than what is waited for an answer before the outcome counts as unknown. ms */
const OUTAGE_MS = 36_000;

/** Longer than any limit within which pages must be taken and their arrival told. */
const LONG_STALL_MS = 66_000;

/** About what goes over the first page stream of a migration of the campaign's guests. bytes */
const PAGE_BYTES = { embedded: 400_000, qemu: 24_000_000 } as const;

const side = fc.constantFrom<Side>('source', 'target');
const briefly = fc.integer({ min: 0, max: 600 });
const forMs = fc.oneof(briefly, fc.integer({ min: 600, max: LONG_MS }));
const scope = fc.oneof<fc.Arbitrary<LinkScope>[]>(
  fc.constant('link'),
  fc.constant('control'),
  fc.constant('pages'),
);
const oneStream = fc.record({ stream: fc.integer({ min: 0, max: 3 }) });

const linkFault = fc.oneof<fc.MaybeWeightedArbitrary<Fault>[]>(
  { weight: 3, arbitrary: fc.record({ do: fc.constant('cut'), scope, forMs }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('cut'), scope: oneStream, forMs: fc.constant(0) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('stall'), scope, forMs }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('stall'), scope: oneStream, forMs }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('half-close'), scope: fc.oneof(scope, oneStream), by: side }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('delay'),
      latencyMs: fc.integer({ min: 5, max: 60 }),
      forMs,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('crawl'),
      bytesPerSecond: fc.integer({ min: 2_000, max: 20_000 }),
      forMs,
    }),
  },
);
const agentFault = fc.oneof<fc.MaybeWeightedArbitrary<Fault>[]>(
  { weight: 3, arbitrary: fc.record({ do: fc.constant('kill-agent'), side, forMs: briefly }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('stop-agent'), side, forMs }) },
);
const qemuFault = fc.oneof<fc.MaybeWeightedArbitrary<Fault>[]>(
  { weight: 2, arbitrary: fc.record({ do: fc.constant('kill-qemu'), side }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('stop-qemu'), side, forMs }) },
);
const outage: fc.Arbitrary<Fault> = fc.record({
  do: fc.constantFrom('stall', 'cut'),
  scope: fc.constant<LinkScope>('link'),
  forMs: fc.constant(OUTAGE_MS),
});
const loss: fc.Arbitrary<Fault> = fc.record({
  do: fc.constant('lose-target'),
  how: fc.constantFrom('kill', 'stop'),
});
const longStall = fc.constant<Fault>({ do: 'stall', scope: 'pages', forMs: LONG_STALL_MS });

const messages = Object.keys(STEP_MESSAGES) as StepMessage[];
const pageByte = (pageBytes: number): fc.Arbitrary<Moment> =>
  fc.record({
    at: fc.constant('byte'),
    purpose: fc.constant('pages'),
    sender: fc.constant('source'),
    position: fc.integer({ min: 1, max: pageBytes }),
  });
const moment = (pageBytes: number) =>
  fc.oneof<fc.MaybeWeightedArbitrary<Moment>[]>(
    {
      weight: 5,
      arbitrary: fc.record({
        at: fc.constant('message'),
        type: fc.constantFrom(...messages),
        when: fc.constantFrom('before', 'after'),
      }),
    },
    { weight: 2, arbitrary: pageByte(pageBytes) },
    {
      weight: 1,
      arbitrary: fc.record({
        at: fc.constant('byte'),
        purpose: fc.constant('control'),
        sender: side,
        position: fc.integer({ min: 1, max: 3000 }),
      }),
    },
    { weight: 2, arbitrary: fc.record({ at: fc.constant('phase'), phase: fc.constantFrom(...PHASES) }) },
  );

/** Where the outcome may be unknown for as long as the target can't be asked. */
const atCommit: fc.Arbitrary<Moment> = fc.record({
  at: fc.constant('message'),
  type: fc.constantFrom('commit', 'running'),
  when: fc.constantFrom('before', 'after'),
});

function faults(kind: 'embedded' | 'qemu'): fc.Arbitrary<PlannedFault[]> {
  const fault = fc.oneof<fc.MaybeWeightedArbitrary<Fault>[]>(
    { weight: 10, arbitrary: linkFault },
    { weight: 9, arbitrary: agentFault },
    { weight: kind === 'qemu' ? 8 : 0, arbitrary: qemuFault },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('cancel') }) },
  );
  const planned = fc.record({ moment: moment(PAGE_BYTES[kind]), fault });
  const second = fc.record({
    moment: fc.oneof<fc.Arbitrary<Moment>[]>(
      moment(PAGE_BYTES[kind]),
      fc.record({ at: fc.constant('then'), afterMs: fc.integer({ min: 0, max: 1500 }) }),
    ),
    fault,
  });
  return fc.oneof<fc.MaybeWeightedArbitrary<PlannedFault[]>[]>(
    { weight: 120, arbitrary: fc.tuple(planned) },
    { weight: 80, arbitrary: fc.tuple(planned, second) },
    // These take long.
    { weight: 1, arbitrary: fc.tuple(fc.record({ moment: atCommit, fault: outage })) },
    { weight: 2, arbitrary: fc.tuple(fc.record({ moment: atCommit, fault: loss })) },
    {
      weight: 1,
      arbitrary: fc.tuple(fc.record({ moment: pageByte(PAGE_BYTES[kind]), fault: longStall })),
    },
  );
}

/** The run of a seed: the same one each time. */
export function planOf(seed: number, kind: 'embedded' | 'qemu'): Plan {
  const plan = fc.record({
    from: fc.constantFrom<('a' | 'b')[]>('a', 'b'),
    transport: fc.oneof<fc.MaybeWeightedArbitrary<Plan['transport']>[]>(
      { weight: 5, arbitrary: fc.constant('auto') },
      { weight: 1, arbitrary: fc.constant('websocket') },
    ),
    verify: fc.constantFrom<Plan['verify'][]>('off', 'after', 'strict'),
    streams: fc.constantFrom(1, 2, 2, 4),
    faults: faults(kind),
  });
  const [drawn] = fc.sample(fc.noBias(plan), { seed, numRuns: 1 });
  return { seed, ...drawn! };
}

/** In words, for a table or a log. */
export function nameOf(fault: Fault): string {
  switch (fault.do) {
    case 'cut':
    case 'stall':
    case 'half-close': {
      const scope = typeof fault.scope === 'string' ? fault.scope : 'one stream';
      const long = 'forMs' in fault && fault.forMs >= OUTAGE_MS ? ', long' : '';
      return `${fault.do} ${scope}${long}`;
    }
    case 'kill-agent':
    case 'stop-agent':
    case 'kill-qemu':
    case 'stop-qemu':
      return `${fault.do} ${fault.side}`;
    case 'lose-target':
      return `${fault.how}-agent target, for good`;
    case 'delay':
    case 'crawl':
    case 'cancel':
      return fault.do;
  }
}
