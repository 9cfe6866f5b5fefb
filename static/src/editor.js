// Entry of the flow editor's page: what CodeMirror and dagre give, gathered in one bundle.
export { EditorState } from "@codemirror/state";
export { EditorView } from "@codemirror/view";
export { yaml } from "@codemirror/lang-yaml";
export { Graph, layout } from "@dagrejs/dagre";
