using TransferEngine.Adaptation;
using TransferEngine.Modules;
using static TransferEngine.Engine.Tests.Adaptation.Samples;

namespace TransferEngine.Engine.Tests.Adaptation;

/// <summary>Optimal transport: the entropic one against its primal value by another algorithm, the exact one against all permutations.</summary>
public class TransportTests
{
    [Theory, InlineData(1, 0.3, 7, 5), InlineData(2, 0.3, 7, 5), InlineData(2, 0.1, 6, 6), InlineData(1, 2.0, 1, 4)]
    public void Sinkhorn_divergence_equals_its_formula(int power, double epsilon, int n, int m)
    {
        double[][] s = Rows(n, 3, 1, 0), t = Rows(m, 3, 2, 0.4);
        double Cost(double[] x, double[] y) => power == 2 ? Distance(x, y) / 2 : Math.Sqrt(Distance(x, y));
        double mean = s.Average(x => t.Average(y => Cost(x, y)));
        foreach (bool relative in new[] { false, true })
        {
            double e = relative ? epsilon * mean : epsilon;
            double across = Primal(s, t, Cost, e), want = across - (Primal(s, s, Cost, e) + Primal(t, t, Cost, e)) / 2;
            AssertClose(want, new SinkhornDivergence(epsilon, relative, power, iterations: 1000).Forward(From(s), From(t)).Item(), 1e-9);
            AssertClose(across, new SinkhornDivergence(epsilon, relative, power, iterations: 1000, debiased: false).Forward(From(s), From(t)).Item(), 1e-9);
        }
        AssertClose(Transported(s, t, Cost, 0.05 * mean), new SinkhornDivergence(power: power).Forward(From(s), From(t)).Item(), 1e-4);
    }

    [Theory, InlineData(1), InlineData(2)]
    public void Sinkhorn_gradients_equal_central_differences(int power) =>
        CheckGradient(new SinkhornDivergence(0.5, relative: false, power, iterations: 300).Forward, m: 4);

    [Fact]
    public void Sinkhorn_divergence_of_a_moved_sample_is_half_the_squared_move()
    {
        var s = Rows(8, 3, 1, 0);
        double[][] moved = [.. s.Reverse().Select(row => new[] { row[0] + 0.3, row[1] - 0.4, row[2] })];
        AssertClose(0.125, new SinkhornDivergence(0.3, iterations: 500).Forward(From(s), From(moved)).Item(), 1e-9);
        Assert.True(Math.Abs(new SinkhornDivergence(0.3, iterations: 500).Forward(From(s), From([.. s.Reverse()])).Item()) < 1e-9);
        Assert.Equal(0, new SinkhornDivergence().Forward(Tensor.Ones([3, 2]), Tensor.Ones([4, 2])).Item(), 6);
    }

    [Theory, InlineData(6, 6), InlineData(2, 3), InlineData(3, 2), InlineData(6, 3), InlineData(1, 5)]
    public void Exact_plan_is_the_cheapest(int n, int m)
    {
        for (int seed = 0; seed < 10; seed++)
        {
            var random = new Random(seed);
            double[] cost = [.. Enumerable.Range(0, n * m).Select(_ => random.NextDouble() * 4 - 1)];
            var plan = ExactTransport.Plan(cost, n, m);
            Assert.All(plan, share => Assert.True(share >= 0));
            for (int i = 0; i < n; i++)
                AssertClose(1.0 / n, Enumerable.Range(0, m).Sum(j => plan[i * m + j]));
            for (int j = 0; j < m; j++)
                AssertClose(1.0 / m, Enumerable.Range(0, n).Sum(i => plan[i * m + j]));
            AssertClose(Cheapest(cost, n, m), plan.Zip(cost, (share, price) => share * price).Sum());
        }
    }

    [Theory, InlineData(6, 6), InlineData(6, 3)]
    public void Joint_transport_equals_its_formula(int n, int m)
    {
        double[][] s = Rows(n, 3, 1, 0), t = Rows(m, 3, 2, 0.4), logits = Rows(m, 4, 3, 0);
        int[] labels = [0, 3, 1, 1, 2, 0];
        foreach (var (jdot, alpha, lambda) in new[] { (DeepJdot.Skada(), 1.0, 1.0), (new DeepJdot(), 1e-3, 1e-4) })
        {
            double[] cost = [.. Enumerable.Range(0, n * m).Select(k => alpha * Distance(s[k / m], t[k % m]) - lambda * Math.Log(Softmax(logits[k % m])[labels[k / m]]))];
            AssertClose(Cheapest(cost, n, m), jdot.Forward(From(s), Tensor.From(labels), From(t), From(logits)).Item());
        }
        // Where the regularization is small, Sinkhorn's plan costs hardly more.
        double exact = DeepJdot.Skada().Forward(From(s), Tensor.From(labels), From(t), From(logits)).Item();
        double entropic = new DeepJdot(featureWeight: 1, labelWeight: 1, regularization: 0.02, iterations: 2000).Forward(From(s), Tensor.From(labels), From(t), From(logits)).Item();
        Assert.InRange(entropic, exact - 1e-3, exact * 1.02);
    }

    [Theory, InlineData(null), InlineData(1.0)]
    public void Joint_transport_of_the_authors_plans_by_probabilities_in_evaluation_and_pays_cross_entropy(double? planned)
    {
        const double Alpha = 0.7, Lambda = 0.4;
        int[] labels = [0, 3, 1, 1, 2];
        double[][] s = Rows(5, 4, 1, 0), t = Rows(5, 4, 2, 0.4), logits = Rows(5, 4, 3, 0);
        double OneHot(int c, double[] row) => Distance([.. Enumerable.Range(0, 4).Select(k => k == c ? 1.0 : 0)], Softmax(row));
        int[] Plan(double[][] source, double[][] target, double[][] l, double lambda) =>
            Orders(5).MinBy(order => order.Select((j, i) => Alpha * Distance(source[i], target[j]) + lambda * OneHot(labels[i], l[j])).Sum())!;
        double Paid(int[] order, double[][] source, double[][] target, double[][] l) =>
            order.Select((j, i) => Alpha * Distance(source[i], target[j]) - Lambda * Math.Log(Softmax(l[j])[labels[i]])).Sum() / 5;
        var jdot = DeepJdot.Authors(2, null, Alpha, Lambda, planned);
        int[] plan = Plan(s, t, logits, planned ?? Lambda);
        AssertClose(Paid(plan, s, t, logits), jdot.Forward(From(s), Tensor.From(labels), From(t), From(logits)).Item());
        // In training three of four features are dropped, in evaluation none is: with the identity as head the target's features are its logits.
        var features = new Dropout(0.75, new Generator(3));
        var step = PlainNetworks.Of(features, new Identity(), s, labels, t);
        double loss = jdot.Loss(step)!.Item();
        double[][] dropped = Unstack(step.SourceFeatures), others = Unstack(step.TargetFeatures);
        Assert.NotEqual(s, dropped);
        AssertClose(2 * Paid(Plan(s, t, t, planned ?? Lambda), dropped, others, others), loss);
        Assert.NotEqual(Plan(s, t, t, planned ?? Lambda), Plan(dropped, others, others, planned ?? Lambda));
        Assert.True(features.IsTraining);

        static double[][] Unstack(Tensor x) => [.. x.ToArray<double>().Chunk(4)];
        static IEnumerable<int[]> Orders(int n) => n == 0 ? [[]] : Orders(n - 1).SelectMany(order => Enumerable.Range(0, n).Select(at => (int[])[.. order[..at], n - 1, .. order[at..]]));
    }

    [Fact]
    public void Joint_transport_is_differentiable_through_features_and_logits()
    {
        var labels = Tensor.From([0, 2, 1, 1, 2, 0]);
        CheckGradient((s, t) => DeepJdot.Skada().Forward(s, labels, t, t * 2), m: 4);
        CheckGradient((s, t) => DeepJdot.Authors(featureWeight: 1, labelWeight: 1).Forward(s, labels, t, t * 2), m: 4);
    }

    [Fact]
    public void Joint_transport_of_a_diverged_training_is_no_number() => Assert.True(double.IsNaN(
        new DeepJdot().Forward(Tensor.Full([3, 2], double.NaN), Tensor.From([0, 1, 1]), Tensor.Ones([3, 2]), Tensor.Ones([3, 2])).Item()));

    [Fact]
    public void Wrong_arguments_are_named()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => new SinkhornDivergence(0));
        Assert.Throws<ArgumentOutOfRangeException>(() => new SinkhornDivergence(power: 3));
        Assert.Throws<ArgumentOutOfRangeException>(() => new DeepJdot(regularization: -1));
        Assert.Throws<ArgumentOutOfRangeException>(() => new DeepJdot(labelWeight: -1));
        Assert.Throws<ArgumentOutOfRangeException>(() => DeepJdot.Authors(planLabelWeight: -1));
    }

    /// <summary>The regularised cost of the plan, by Sinkhorn's scalings of the kernel itself.</summary>
    private static double Primal(double[][] s, double[][] t, Func<double[], double[], double> cost, double epsilon)
    {
        var plan = Plan(s, t, cost, epsilon);
        double total = 0;
        for (int i = 0; i < s.Length; i++)
        {
            for (int j = 0; j < t.Length; j++)
                total += plan[i, j] * (cost(s[i], t[j]) + epsilon * Math.Log(plan[i, j] * s.Length * t.Length));
        }
        return total;
    }

    private static double Transported(double[][] s, double[][] t, Func<double[], double[], double> cost, double epsilon) =>
        Primal(s, t, cost, epsilon) - (Primal(s, s, cost, epsilon) + Primal(t, t, cost, epsilon)) / 2;

    private static double[,] Plan(double[][] s, double[][] t, Func<double[], double[], double> cost, double epsilon)
    {
        int n = s.Length, m = t.Length;
        double[][] kernel = [.. s.Select(x => t.Select(y => Math.Exp(-cost(x, y) / epsilon)).ToArray())];
        double K(int i, int j) => kernel[i][j];
        double[] u = [.. Enumerable.Repeat(1.0, n)], v = [.. Enumerable.Repeat(1.0, m)];
        for (int step = 0; step < 5000; step++)
        {
            for (int i = 0; i < n; i++)
                u[i] = 1.0 / n / Enumerable.Range(0, m).Sum(j => K(i, j) * v[j]);
            for (int j = 0; j < m; j++)
                v[j] = 1.0 / m / Enumerable.Range(0, n).Sum(i => K(i, j) * u[i]);
        }
        var plan = new double[n, m];
        for (int i = 0; i < n; i++)
        {
            for (int j = 0; j < m; j++)
                plan[i, j] = u[i] * K(i, j) * v[j];
        }
        return plan;
    }

    /// <summary>The least cost over all permutations of as many copies of each row and column as make both sides equal.</summary>
    private static double Cheapest(double[] cost, int n, int m)
    {
        int copies = Enumerable.Range(1, n * m).First(k => k % n == 0 && k % m == 0);
        var free = Enumerable.Range(0, copies).ToHashSet();
        double Best(int row) => row == copies ? 0 : free.ToArray().Min(column =>
        {
            free.Remove(column);
            double total = cost[row * n / copies * m + column * m / copies] + Best(row + 1);
            free.Add(column);
            return total;
        });
        return Best(0) / copies;
    }
}
