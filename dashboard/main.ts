import { AgentApi } from './agent-api.js';
import { openCancelDialog } from './cancel-dialog.js';
import { definePlotElement } from './chart-plot.js';
import { LiveState } from './live-state.js';
import { openMigrateDialog } from './migrate-dialog.js';
import { openMigrationDialog } from './migration-dialog.js';
import type { PageContext } from './page-context.js';
import { pageView } from './page-view.js';
import { render } from './vendor/lit-html/lit-html.js';

/** The dashboard: asks the agent that it came from, draws what it hears, and does what its reader wants. */

const page = element('page');
const said = element('said');
const api = new AgentApi();
const choices = { guestFilter: '', wholeHistory: false };

let drawing = false;
/** In the next frame, once for all that has changed until then. A page that is hidden has no frames. */
function changed(): void {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    render(pageView(context), page);
    if (state.cluster) document.title = `${state.cluster.node} – vmferry`;
  });
}

const state = new LiveState(api, changed, (what) => (said.textContent = what));

const context: PageContext = {
  state,
  choices,
  actions: {
    migrate: (vm) => {
      const targets = state.cluster?.nodes.filter(({ node }) => node !== state.cluster?.node) ?? [];
      openMigrateDialog(api, vm, targets, () => state.lookNow());
    },
    cancel: (migration) => openCancelDialog(api, migration, () => state.lookNow()),
    show: (migration) => void openMigrationDialog(api, migration),
    signIn: (token) => state.signIn(token),
    signOut: () => state.signIn(null),
    filterGuests: (text) => {
      choices.guestFilter = text;
      changed();
    },
    showWholeHistory: () => {
      choices.wholeHistory = true;
      changed();
    },
  },
};

definePlotElement();
changed();
void state.run();

function element(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no element '${id}'`);
  return found;
}
