using TransferEngine.Tests;

namespace TransferEngine.Engine.Tests;

/// <summary>Trajectories on a quadratic against the formulas in double, state that resumes, and what is refused.</summary>
public class OptimizerTests
{
    private static readonly double[] Start = [1.5, -2, 0.25, 3], Targets = [0.5, 1, -1, 2];

    /// <summary>How each optimiser is made, and one step of its formula: parameter, gradient, state and step number to the parameter.</summary>
    private static readonly Dictionary<string, (Func<ParameterGroup[], Optimizer> Make, Func<double, double, double[], int, double, double> Step)> Kinds = new()
    {
        ["sgd"] = (groups => new Sgd(groups, 0.1), (p, g, _, _, rate) => p - rate * g),
        ["sgd-nesterov"] = (groups => new Sgd(groups, 0.1, momentum: 0.9, weightDecay: 0.01, nesterov: true), (p, g, s, t, rate) =>
        {
            g += 0.01 * p;
            s[0] = t == 1 ? g : 0.9 * s[0] + g;
            return p - rate * (g + 0.9 * s[0]);
        }
        ),
        ["sgd-dampened"] = (groups => new Sgd(groups, 0.1, momentum: 0.5, dampening: 0.25), (p, g, s, t, rate) =>
        {
            s[0] = t == 1 ? g : 0.5 * s[0] + 0.75 * g;
            return p - rate * s[0];
        }
        ),
        ["adam"] = (groups => new Adam(groups, 0.1, weightDecay: 0.02), (p, g, s, t, rate) => Adam(p, g + 0.02 * p, s, t, rate, false)),
        ["adam-amsgrad"] = (groups => new Adam(groups, 0.1, amsGrad: true), (p, g, s, t, rate) => Adam(p, g, s, t, rate, true)),
        ["adamw"] = (groups => new AdamW(groups, 0.1), (p, g, s, t, rate) => Adam(p * (1 - rate * 0.01), g, s, t, rate, false)),
        ["rmsprop"] = (groups => new RmsProp(groups, 0.1), (p, g, s, _, rate) =>
        {
            s[0] = 0.99 * s[0] + 0.01 * g * g;
            return p - rate * g / (Math.Sqrt(s[0]) + 1e-8);
        }
        ),
        ["rmsprop-centered"] = (groups => new RmsProp(groups, 0.1, centered: true, momentum: 0.9), (p, g, s, _, rate) =>
        {
            s[0] = 0.99 * s[0] + 0.01 * g * g;
            s[1] = 0.99 * s[1] + 0.01 * g;
            s[2] = 0.9 * s[2] + g / (Math.Sqrt(s[0] - s[1] * s[1]) + 1e-8);
            return p - rate * s[2];
        }
        ),
    };

    public static TheoryData<string> Names => [.. Kinds.Keys];

    [Theory, MemberData(nameof(Names))]
    public void Trajectories_follow_the_formula_and_resume_from_the_state(string kind)
    {
        var (make, step) = Kinds[kind];
        var (first, second) = (Leaf(Start[..2]), Leaf(Start[2..]));
        var optimizer = make([new([first]), new([second]) { LearningRate = 0.05 }]);
        var state = Start.Select(_ => new double[3]).ToArray();
        var want = (double[])Start.Clone();
        for (int t = 1; t <= 6; t++)
        {
            Descend(optimizer, first, second);
            for (int i = 0; i < want.Length; i++)
                want[i] = step(want[i], 2 * (want[i] - Targets[i]), state[i], t, i < 2 ? 0.1 : 0.05);
        }
        Assert.All(want.Zip(Values(first, second)), pair => Assert.Equal(pair.First, pair.Second, 1e-12));

        var (third, fourth) = (Leaf(first.ToArray<double>()), Leaf(second.ToArray<double>()));
        var resumed = make([new([third]), new([fourth])]);
        resumed.LoadStateDict(optimizer.StateDict().ToDictionary(pair => pair.Key, pair => pair.Value.Clone()));
        for (int t = 0; t < 3; t++)
        {
            Descend(optimizer, first, second);
            Descend(resumed, third, fourth);
        }
        Assert.Equal(Values(first, second), Values(third, fourth));
    }

    [Fact]
    public void Parameters_without_gradients_stay_and_keep_no_state()
    {
        var (used, frozen) = (Leaf(1, 2), Leaf(3, 4));
        frozen.RequiresGrad = false;
        var optimizer = new Adam([used, frozen]);
        ((used * frozen).Sum() * 2).Backward();
        optimizer.Step();
        Assert.Equal([3, 4], frozen.ToArray<double>());
        Assert.DoesNotContain(optimizer.StateDict().Keys, name => name.StartsWith("state.1", StringComparison.Ordinal));
        optimizer.ZeroGrad();
        Assert.Null(used.Grad);
    }

    [Fact]
    public void A_step_inside_a_scope_keeps_its_state_and_a_stale_graph_is_refused()
    {
        var p = Leaf(1, 2);
        var optimizer = new Sgd([p], 0.1, momentum: 0.9);
        for (int t = 0; t < 3; t++)
        {
            using var scope = new TensorScope();
            optimizer.ZeroGrad();
            (p * p).Sum().Backward();
            optimizer.Step();
        }
        var loss = (p * p).Sum();
        optimizer.Step();
        Assert.Contains("changed in place", Assert.Throws<AutogradException>(() => loss.Backward()).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Wrong_parameters_and_states_are_refused_with_the_reason()
    {
        var p = Leaf(1, 2);
        Assert.Contains("twice", Assert.Throws<ArgumentException>(() => new Sgd([p, p])).Message, StringComparison.Ordinal);
        Assert.Contains("computed", Assert.Throws<ArgumentException>(() => new Sgd([p * 2])).Message, StringComparison.Ordinal);
        Assert.Contains("Nesterov", Assert.Throws<ArgumentException>(() => new Sgd([p], nesterov: true)).Message, StringComparison.Ordinal);
        Assert.Contains("missing", Assert.Throws<ArgumentException>(() => new Sgd([p]).LoadStateDict(new Dictionary<string, Tensor>())).Message, StringComparison.Ordinal);
    }

    [SkippableTheory]
    [InlineData(5)]
    [InlineData(1000)]
    [InlineData(double.NaN)]
    public void Clipping_on_a_device_scales_as_on_the_host_and_waits_for_nothing(double bound)
    {
        var device = EngineDevices.Get("opencl");
        float[][] Clipped(Action<IEnumerable<Tensor>, double> clip)
        {
            var parameters = new[] { new[] { 3f, -4, 12 }, [84f] }.Select(values => Tensor.From(values, device)).ToArray();
            foreach (var parameter in parameters)
            {
                parameter.RequiresGrad = true;
                (parameter * parameter * (double.IsNaN(bound) ? double.NaN : 0.5)).Sum().Backward();
            }
            clip(parameters, double.IsNaN(bound) ? 1 : bound);
            return [.. parameters.Select(parameter => parameter.Grad!.ToArray<float>())];
        }
        var want = Clipped((parameters, most) => GradientClipping.ByNorm(parameters, most));
        long waits = 0;
        var got = Clipped((parameters, most) =>
        {
            waits = device.Compute.Waits;
            GradientClipping.ToNorm(parameters, most);
            waits = device.Compute.Waits - waits;
        });
        Assert.Equal(0, waits);
        foreach (var (a, b) in want.Zip(got))
            Assert.All(a.Zip(b), pair => Assert.True(pair.First.Equals(pair.Second) || Math.Abs(pair.First - pair.Second) <= 1e-6 * Math.Abs(pair.First), $"{pair}"));
        Assert.Equal(double.IsNaN(bound), float.IsNaN(got[0][0]));
        if (bound == 1000)
            Assert.Equal([[3f, -4, 12], [84f]], got);
    }

    [Fact]
    public void Clipping_bounds_the_norm_or_the_elements()
    {
        var (p, q) = (Leaf(1, 2), Leaf(2, 4));
        (p * p).Sum().Backward();
        (q * q).Sum().Backward();
        Assert.Equal(10, GradientClipping.ByNorm([p, q], 5), 1e-12);
        Assert.Equal([1, 2, 2, 4], Values(p.Grad!, q.Grad!).Select(v => Math.Round(v, 5)));
        GradientClipping.ByValue([p, q], 1.5);
        Assert.Equal([1, 1.5, 1.5, 1.5], Values(p.Grad!, q.Grad!).Select(v => Math.Round(v, 5)));
    }

    [Fact]
    public void Leaves_That_Get_One_Gradient_Have_One_Each()
    {
        var (p, q) = (Leaf(3, 4), Leaf(1, 2));
        var seed = Tensor.From([3.0, 4]);
        (p + q).Backward(seed);
        Assert.Equal(Math.Sqrt(50), GradientClipping.ByNorm([p, q], Math.Sqrt(2)), 1e-12);
        Assert.Equal([0.6, 0.8, 0.6, 0.8, 3, 4], Values(p.Grad!, q.Grad!).Concat(seed.ToArray<double>()).Select(v => Math.Round(v, 5)));
    }

    private static double Adam(double p, double g, double[] s, int t, double rate, bool amsGrad)
    {
        s[0] = 0.9 * s[0] + 0.1 * g;
        s[1] = 0.999 * s[1] + 0.001 * g * g;
        s[2] = Math.Max(s[2], s[1]);
        return p - rate / (1 - Math.Pow(0.9, t)) * s[0] / (Math.Sqrt(amsGrad ? s[2] : s[1]) / Math.Sqrt(1 - Math.Pow(0.999, t)) + 1e-8);
    }

    private static void Descend(Optimizer optimizer, Tensor first, Tensor second)
    {
        optimizer.ZeroGrad();
        Tensor a = first - Tensor.From(Targets[..2]), b = second - Tensor.From(Targets[2..]);
        ((a * a).Sum() + (b * b).Sum()).Backward();
        optimizer.Step();
    }

    private static Tensor Leaf(params double[] values)
    {
        var leaf = Tensor.From(values);
        leaf.RequiresGrad = true;
        return leaf;
    }

    private static double[] Values(Tensor a, Tensor b) => [.. a.ToArray<double>(), .. b.ToArray<double>()];
}
