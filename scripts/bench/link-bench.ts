import type { Argv } from 'yargs';
import type { z } from 'zod';
import { LinkTestSchema, type LinkTestResult } from '../../shared/api.js';
import { MigrationError } from '../../shared/errors.js';
import { LinkTestMemorySchema } from '../../shared/protocol/messages.js';
import { parseBytes, parseRate } from '../../shared/units.js';
import { validate } from '../../shared/validate.js';
import type { GlobalOptions, Session } from '../cli/session.js';
import { inUnits } from '../cli/units-option.js';
import { type ArgsOf, countOf, items, linksOf, placeOptions } from './bench-options.js';
import type { LinkReport, LinkSeries } from './bench-report.js';
import { foreignIperf3, type Iperf3, measureIperf3, startIperf3 } from './iperf3.js';
import { linkTable } from './link-table.js';
import { median } from './median.js';
import { runBench } from './run-bench.js';
import type { TestBed } from './test-bed.js';

/** Writes of iperf3 as large as the frames that pages travel in. bytes */
const LARGE_BLOCK = 2 ** 20;

function options(command: Argv<GlobalOptions>) {
  return placeOptions(command)
    .option('link', {
      type: 'string',
      requiresArg: true,
      default: 'none',
      describe: 'rates of the link, several with commas, like 1gbit; none: no limit; rates need --lab',
    })
    .option('memory', {
      type: 'string',
      requiresArg: true,
      default: 'embedded,qemu',
      describe: 'kinds of guests whose memory is sent: embedded, qemu, or both with a comma between them',
    })
    .option('size', {
      type: 'string',
      requiresArg: true,
      default: '256MiB',
      describe: 'how much memory is sent',
    })
    .option('rounds', {
      type: 'number',
      requiresArg: true,
      default: 4,
      describe: 'how often it is sent in a run; the first time is a warm-up, and does not count',
    })
    .option('streams', {
      type: 'string',
      requiresArg: true,
      default: 'auto',
      describe: "number of connections for memory, or 'auto'",
    })
    .option('bandwidth', {
      type: 'string',
      requiresArg: true,
      default: '0',
      describe: 'limit that vmferry is given, like 500mbit; 0: none',
    })
    .option('tls', {
      type: 'boolean',
      conflicts: 'agents',
      describe: 'measure with TLS, too: between two more agents, in turns with the others',
    })
    .option('iperf3', {
      type: 'string',
      requiresArg: true,
      implies: 'agents',
      describe:
        'HOST[:PORT] of an iperf3 server on the second host; its client runs here, so run this on the first',
    })
    .example('$0 bench link', 'two agents on this host, beside iperf3')
    .example('$0 bench link --lab --link 1gbit,5gbit,none --report link.html', 'on links of a known rate')
    .example(
      '$0 bench link --agents https://10.0.0.1:7800,https://10.0.0.2:7800 --iperf3 10.0.0.2',
      'two hosts',
    );
}

type LinkArgs = ArgsOf<typeof options>;

/** One contender: bytes a second of one run. */
interface Contender {
  readonly name: string;
  measure(): Promise<number>;
}

/** What a link test takes of an option. Throws invalid-request, naming it. */
function ofOption<Schema extends z.ZodType>(
  schema: Schema,
  option: string,
  value: unknown,
): z.output<Schema> {
  return validate(schema, value, 'invalid-request', `--${option}`);
}

/** `vmferry bench link`: pages from memory to memory, agent to agent, beside iperf3 on the same way, in turns. */
export const linkBench = {
  name: 'link',
  describe: 'measure how fast memory gets from one agent to the other, beside iperf3',
  options,
  run: async (args: LinkArgs, session: Session) => {
    const { link, memory, size, rounds, streams, bandwidth, runs, tls = false } = args;
    const links = linksOf(link);
    const { shape } = LinkTestSchema;
    // Before anything is started.
    const request = {
      bytes: ofOption(shape.bytes, 'size', inUnits('size', size, parseBytes)),
      rounds: ofOption(shape.rounds, 'rounds', countOf('rounds', rounds)),
      streams: ofOption(shape.streams, 'streams', /^\d+$/.test(streams) ? Number(streams) : streams),
      bandwidthBytesPerSecond: ofOption(
        shape.bandwidthBytesPerSecond,
        'bandwidth',
        inUnits('bandwidth', bandwidth, parseRate),
      ),
    };
    const memories = items('memory', memory).map((kind) => {
      const parsed = LinkTestMemorySchema.safeParse(kind);
      if (parsed.success) return parsed.data;
      throw new MigrationError('invalid-request', `--memory: there is no kind '${kind}': embedded or qemu`);
    });
    const foreign = args.iperf3 === undefined ? null : foreignIperf3(args.iperf3);
    return await runBench(args, session, {
      programs: args.agents === undefined || foreign ? ['iperf3'] : [],
      links,
      options: {
        link,
        memory,
        size,
        rounds,
        streams,
        bandwidth,
        tls,
        ...(args.iperf3 !== undefined && { iperf3: args.iperf3 }),
      },
      run: async (bed, setting, say): Promise<LinkReport> => {
        const iperf3 = foreign ?? (bed.local ? await startIperf3(...bed.local.hosts) : null);
        try {
          const secure = tls ? await bed.local?.startNodes(['a-tls', 'b-tls'], {}, true) : undefined;
          const tests = memories.flatMap((kind) => [
            linkTest(bed.nodes, { ...request, memory: kind }),
            ...(secure ? [linkTest(secure, { ...request, memory: kind }, ', TLS')] : []),
          ]);
          const contenders = [
            ...tests,
            ...(iperf3 ? iperf3Contenders(iperf3, request.bytes * request.rounds) : []),
          ];
          const series: LinkSeries[] = [];
          for (const rate of links) {
            await bed.setRate(rate);
            const measured = await inTurns(contenders, runs, say);
            series.push(...measured.map((each) => ({ ...each, linkBytesPerSecond: rate })));
            for (const test of tests) say(`${test.name}: ${test.last()}`);
          }
          return { bench: 'link', ...setting, series };
        } finally {
          iperf3?.close();
        }
      },
      table: (report) => linkTable((report as LinkReport).series),
    });
  },
};

/** Runs of all, one after the other, so that what disturbs the machine disturbs each. */
async function inTurns(
  contenders: readonly Contender[],
  runs: number,
  say: (line: string) => void,
): Promise<{ name: string; runs: number[] }[]> {
  const measured = contenders.map(({ name }) => ({ name, runs: [] as number[] }));
  for (let run = 0; run < runs; run += 1) {
    for (const [index, contender] of contenders.entries()) {
      measured[index]!.runs.push(await contender.measure());
    }
    say(`run ${run + 1} of ${runs}`);
  }
  return measured;
}

/** A run's rate is the median of its rounds but the first, in which memory is touched for the first time. */
function linkTest(
  [from, to]: TestBed['nodes'],
  given: object & { memory: string },
  how = '',
): Contender & { last(): string } {
  const request = validate(LinkTestSchema, { ...given, to: to.node }, 'invalid-request', 'the link test');
  let latest: LinkTestResult | undefined;
  return {
    name: `vmferry, ${given.memory}${how}`,
    last: () => {
      if (!latest) return 'not run';
      const { transport, used, open, reason } = latest.streams;
      return `${transport}, ${used} of ${open} streams used: ${reason}`;
    },
    measure: async () => {
      latest = await from.client.testLink(request);
      return median(latest.bytesPerSecond.slice(1));
    },
  };
}

function iperf3Contenders(iperf3: Iperf3, bytes: number): Contender[] {
  return [
    { name: 'iperf3, default block', measure: () => measureIperf3(iperf3, bytes) },
    { name: 'iperf3, 1 MiB block', measure: () => measureIperf3(iperf3, bytes, LARGE_BLOCK) },
  ];
}
