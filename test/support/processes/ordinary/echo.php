<?php
header("x-path: " . $_SERVER["REQUEST_URI"]);
readfile("php://input");
