<?php
// An application behind PHP's own server: it prints the method, path and role of each request.
$said = $_SERVER["REQUEST_METHOD"] . " " . $_SERVER["SCRIPT_NAME"] . "\n";
if (isset($_SERVER["HTTP_X_ROLE"])) {
    $said .= "role " . $_SERVER["HTTP_X_ROLE"] . "\n";
}
file_put_contents("php://stdout", $said);
echo "done";
