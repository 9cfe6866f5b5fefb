// The flow editor. Without it the page is a textarea and two forms; with it, CodeMirror, lint, graph and safe saving.
import { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { yaml } from "@codemirror/lang-yaml";
import { bracketMatching, foldGutter, foldKeymap, indentOnInput, indentUnit, syntaxHighlighting } from "@codemirror/language";
import { lintGutter, lintKeymap } from "@codemirror/lint";
import { highlightSelectionMatches, searchKeymap } from "@codemirror/search";
import { EditorState } from "@codemirror/state";
import {
  Decoration, drawSelection, EditorView, highlightActiveLine, highlightActiveLineGutter, keymap, lineNumbers, MatchDecorator, ViewPlugin,
} from "@codemirror/view";
import { classHighlighter } from "@lezer/highlight";
import { checker } from "./_check.js";
import { completeFrom } from "./_complete.js";
import { drawer } from "./_graph.js";
import { releasePanel } from "./_release.js";
import { saver } from "./_save.js";

const form = document.getElementById("draft-form");
const area = document.getElementById("source");

/** `${{ … }}` stands out, whatever YAML makes of the rest. */
const marks = new MatchDecorator({ regexp: /\$\{\{.*?\}\}/g, decoration: Decoration.mark({ class: "cm-expression" }) });
const expressions = ViewPlugin.define(
  (view) => ({ set: marks.createDeco(view), update(u) { this.set = marks.updateDeco(u, this.set); } }),
  { decorations: (plugin) => plugin.set },
);

function jump(view, line, column = 1) {
  const at = view.state.doc.line(Math.min(Math.max(line, 1), view.state.doc.lines));
  const pos = Math.min(at.from + column - 1, at.to);
  view.dispatch({ selection: { anchor: pos }, effects: EditorView.scrollIntoView(pos, { y: "center" }) });
  view.focus();
}

function start() {
  const graph = drawer(document.getElementById("graph"), (line) => jump(view, line));
  const check = checker(form, graph, (line, column) => jump(view, line, column));
  const save = saver(form, () => view.state.doc.toString(), (text) => replace(text));
  const view = new EditorView({
    parent: form,
    state: EditorState.create({
      doc: area.value,
      extensions: [
        EditorView.cspNonce.of(form.dataset.nonce),
        lineNumbers(), highlightActiveLineGutter(), lintGutter(), foldGutter(), history(), drawSelection(), indentOnInput(),
        indentUnit.of("  "), EditorState.tabSize.of(2), bracketMatching(), closeBrackets(), highlightActiveLine(), highlightSelectionMatches(),
        yaml(), syntaxHighlighting(classHighlighter), expressions,
        autocompletion({ override: [completeFrom(form.dataset.schema)] }),
        keymap.of([
          { key: "Mod-s", preventDefault: true, run: () => { save.now(); return true; } },
          ...closeBracketsKeymap, ...defaultKeymap, ...searchKeymap, ...historyKeymap, ...foldKeymap, ...completionKeymap, ...lintKeymap,
          indentWithTab,
        ]),
        EditorView.contentAttributes.of({ "aria-label": area.getAttribute("aria-label"), "aria-multiline": "true", tabindex: "0", spellcheck: "false" }),
        EditorView.updateListener.of((update) => {
          if (!update.docChanged) return;
          document.getElementById("line-count").textContent = String(update.state.doc.lines);
          save.changed();
          check.soon(update.view);
        }),
      ],
    }),
  });
  function replace(text) {
    view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text } });
  }
  area.hidden = true;
  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key === "s" && !event.defaultPrevented) { event.preventDefault(); save.now(); }
  });
  releasePanel(save);
  check.soon(view, 0);
}

if (form && area) start();
