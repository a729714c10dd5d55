import { SOURCE_TABLE, transition as sourceTransition } from '../../agent/source/source-state.js';
import { TARGET_TABLE, transition as targetTransition } from '../../agent/target/target-state.js';
import { SOURCE_EVENTS, SOURCE_STATES, TARGET_EVENTS, TARGET_STATES } from './machine-samples.js';

/** The state machines as Mermaid draws them, made from the product's own tables by asking them for every move. */

interface Move {
  readonly from: string;
  readonly to: string;
  readonly event: string;
}

/** Mermaid takes names without dashes; what is shown is the name as it is. */
function identifier(state: string): string {
  return state.replaceAll('-', '_');
}

function render(first: string, states: readonly string[], moves: readonly Move[]): string {
  const arrows = new Map<string, string[]>();
  for (const { from, to, event } of moves) {
    const arrow = `${identifier(from)} --> ${identifier(to)}`;
    arrows.set(arrow, [...(arrows.get(arrow) ?? []), event]);
  }
  const ends = states.filter((state) => !moves.some(({ from }) => from === state));
  return [
    '```mermaid',
    'stateDiagram-v2',
    ...states
      .filter((state) => state.includes('-'))
      .map((state) => `    state "${state}" as ${identifier(state)}`),
    `    [*] --> ${identifier(first)}`,
    ...[...arrows].map(([arrow, events]) => `    ${arrow}: ${events.join(', ')}`),
    ...ends.map((state) => `    ${identifier(state)} --> [*]`),
    '```',
  ].join('\n');
}

function movesOf<State extends { name: string }, Event>(
  states: Readonly<Record<string, State>>,
  events: Readonly<Record<string, Event>>,
  transition: (state: State, event: Event) => { state: State } | null,
): Move[] {
  return Object.values(states).flatMap((state) =>
    Object.entries(events).flatMap(([event, sample]) => {
      const step = transition(state, sample);
      return step ? [{ from: state.name, to: step.state.name, event }] : [];
    }),
  );
}

export function sourceDiagram(): string {
  const moves = movesOf(SOURCE_STATES, SOURCE_EVENTS, sourceTransition);
  return render('preparing', Object.keys(SOURCE_TABLE), moves);
}

export function targetDiagram(): string {
  const moves = movesOf(TARGET_STATES, TARGET_EVENTS, targetTransition);
  return render('opened', Object.keys(TARGET_TABLE), moves);
}
