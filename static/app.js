// Behaviour of every page. Each page works as plain links and forms without it.
import "./ui.js";
import "./keys.js";
import "./run.js";
import "./approval.js";
import "./forms.js";
import "./secrets.js";
import { start } from "./live.js";

document.documentElement.dataset.js = "on";
start();
