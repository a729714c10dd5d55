import { MigrationError } from '../../shared/errors.js';
import { parseBytes, parseRate } from '../../shared/units.js';
import { validate } from '../../shared/validate.js';
import { countOf, items } from '../bench/bench-options.js';
import { inUnits, parsed } from '../cli/units-option.js';
import { type Scenario, type ScenarioInput, ScenarioSchema } from './scenario.js';

/** Options that make a scenario without a file. */
export interface QuickOptions {
  readonly nodes: number;
  readonly link: string;
  readonly guests: number;
  readonly memory: string;
  readonly writes: string;
  readonly moves: string;
}

export const WRITES_SYNTAX =
  'SET@RATE, like 1GiB@100MB; +in-turn where no page comes again before the others';
export const MOVES_SYNTAX =
  'drain:NODES (these at once), rolling:NODES (all, so many at a time) or pairs:GUESTS (drawn at random)';

/** Throws invalid-request, naming the option. */
export function quickScenario({ nodes, link, guests, memory, writes, moves }: QuickOptions): Scenario {
  const input = {
    nodes: [{ count: nodes, link: inUnits('link', link, parseRate), guests }],
    guests: [{ memory: inUnits('memory', memory, parseBytes), writes: writesOf(writes) }],
    moves: movesOf(moves),
  } satisfies ScenarioInput;
  return validate(ScenarioSchema, input, 'invalid-request', 'the scenario that the options make');
}

function writesOf(text: string): NonNullable<ScenarioInput['guests'][number]['writes']> {
  if (text === 'none') return [];
  return items('writes', text).map((each) => {
    const groups = /^(?<set>[^@+]+)@(?<rate>[^@+]+)(?<order>\+in-turn)?$/.exec(each)?.groups;
    if (!groups) {
      throw new MigrationError(
        'invalid-request',
        `--writes: '${each}' is not understood: write it like ${WRITES_SYNTAX}, or none`,
      );
    }
    return {
      set: parsed('--writes', groups['set']!, parseBytes),
      rate: parsed('--writes', groups['rate']!, parseRate),
      order: groups['order'] === undefined ? ('random' as const) : ('in-turn' as const),
    };
  });
}

function movesOf(text: string): ScenarioInput['moves'] {
  const [kind, number] = text.split(':');
  const many = () => countOf('moves', Number(number));
  switch (kind) {
    case 'drain':
      return { kind, nodes: many() };
    case 'rolling':
      return { kind, batch: many() };
    case 'pairs':
      return { kind, count: many() };
    default:
      throw new MigrationError(
        'invalid-request',
        `--moves: '${text}' is not understood: write it like ${MOVES_SYNTAX}`,
      );
  }
}
