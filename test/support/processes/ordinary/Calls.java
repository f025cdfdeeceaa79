// An ordinary caller in Java: its HttpClient as it comes, which offers HTTP/2 by an upgrade.
import java.net.*;
import java.net.http.*;

class Calls {
    public static void main(String[] arguments) throws Exception {
        var proxy = ProxySelector.of(new InetSocketAddress("127.0.0.1", Integer.parseInt(arguments[0])));
        var client = HttpClient.newBuilder().proxy(proxy).build();
        for (int size : new int[] {0, 100000}) {
            var request = HttpRequest.newBuilder(URI.create(arguments[1]))
                .POST(HttpRequest.BodyPublishers.ofString("x".repeat(size))).build();
            var response = client.send(request, HttpResponse.BodyHandlers.ofString());
            System.out.println(response.statusCode() + " " + response.body().length());
        }
    }
}
