import { html, render, type TemplateResult } from './vendor/lit-html/lit-html.js';

export interface Dialog {
  /** Draws its content anew. */
  update(): void;
  close(): void;
}

/** Opens a modal dialog that goes when it is closed; the focus returns to what it was opened from. */
export function openDialog(title: string, content: (dialog: Dialog) => TemplateResult, wide = false): Dialog {
  const element = document.createElement('dialog');
  element.setAttribute('aria-labelledby', 'dialog-title');
  element.className = wide ? 'wide' : '';
  const dialog: Dialog = {
    update: () =>
      render(
        html`<h2 id="dialog-title">${title}</h2>
          ${content(dialog)}`,
        element,
      ),
    close: () => element.close(),
  };
  element.addEventListener('close', () => {
    // what is in it is told that it has gone
    render('', element);
    element.remove();
  });
  document.body.append(element);
  dialog.update();
  element.showModal();
  return dialog;
}
