// Entry of every page.
document.documentElement.dataset.js = "on";
